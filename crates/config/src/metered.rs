//! `[payments.metered]`: what is paid by use.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// `[payments.metered]`: paid routes whose price is a maximum, and what is charged up to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metered {
    /// The paid routes that are paid by use; the price of each is then the most that it costs.
    pub routes: Vec<String>,
    /// The payment scheme of their offers; by default `upto`.
    pub scheme: String,
    /// What a run costs whatever it uses, in words of the component; by default nothing.
    pub base: String,
    /// What an hour of processor time costs; by default nothing.
    pub processor_hour: String,
    /// What a GiB of memory costs for an hour; by default nothing.
    pub memory_hour: String,
    /// What a GiB in and out costs; by default nothing.
    pub traffic: String,
    /// What a GiB that is kept of environments costs for a day; by default nothing.
    pub stored_day: String,
}

impl Default for Metered {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            scheme: "upto".to_owned(),
            base: String::new(),
            processor_hour: String::new(),
            memory_hour: String::new(),
            traffic: String::new(),
            stored_day: String::new(),
        }
    }
}

impl Metered {
    /// What use costs in words, for what describes the route.
    pub fn words(&self) -> String {
        let parts = [
            (&self.base, "a run"),
            (&self.processor_hour, "a processor hour"),
            (&self.memory_hour, "a GiB of memory for an hour"),
            (&self.traffic, "a GiB in and out"),
            (
                &self.stored_day,
                "a GiB that is kept of an environment for a day",
            ),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(price, _)| !price.is_empty())
            .map(|(price, unit)| format!("{price} {unit}"))
            .collect();
        parts.join(", ")
    }

    /// Checks what needs no component.
    pub(crate) fn validate(&self, settle_first: bool) -> Result<(), Error> {
        let wrong = |message: &str| {
            Err(Error::Value {
                key: "payments.metered",
                message: message.to_owned(),
            })
        };
        if self.routes.is_empty() {
            return Ok(());
        }
        if self.words().is_empty() {
            return wrong(
                "its routes are paid by use, and no use has a price: set `processor_hour`, say",
            );
        }
        if settle_first {
            return wrong(
                "what a run uses is known when it has ended: `settle_first` cannot be true",
            );
        }
        Ok(())
    }
}
