//! A price that depends on use: how it adds up, for the host that charges it and for the client that checks it.

use serde::{Deserialize, Serialize};

use crate::Report;

/// Microseconds in an hour.
const HOUR: u128 = 3_600_000_000;
/// Bytes in a GiB.
const GIB: u128 = 1 << 30;
/// Seconds in a day.
const DAY: u128 = 86_400;

/// What use costs, each in the smallest unit of the asset; 0 is free.
///
/// Amounts are decimal numbers in text, as in [`crate::PaymentReceipt`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// A run, whatever it uses.
    pub base: String,
    /// An hour of processor time.
    pub processor_hour: String,
    /// A GiB of linear memory for an hour: the most that was in use at one time, for as long as the run took.
    pub memory_gib_hour: String,
    /// A GiB in and out.
    pub traffic_gib: String,
    /// A GiB that is kept of an environment for a day.
    #[serde(default = "nothing", skip_serializing_if = "is_nothing")]
    pub stored_gib_day: String,
}

fn nothing() -> String {
    "0".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

fn is_nothing(amount: &str) -> bool {
    amount == "0"
}

/// How the price of a run that is paid by use adds up.
///
/// It rests on what is in the report beside it: processor time, elapsed time, peak memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metered {
    /// What use costs.
    pub tariff: Tariff,
    /// The most that was signed for.
    pub maximum: String,
    /// Bytes in and out, in plaintext: program, standard input and arguments; result and standard error.
    pub traffic_bytes: u64,
    /// What the processor time comes to. Each part is rounded up.
    pub processor: String,
    /// What the memory comes to.
    pub memory: String,
    /// What the bytes come to.
    pub traffic: String,
    /// What is kept from now on that was not before: bytes of an environment's state, times the seconds to its end.
    #[serde(default, skip_serializing_if = "is_none")]
    pub stored_byte_seconds: u64,
    /// What that comes to.
    #[serde(default = "nothing", skip_serializing_if = "is_nothing")]
    pub stored: String,
    /// What is charged: the base and the parts, or the maximum if that is less.
    pub total: String,
}

/// What a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time, microseconds.
    pub cpu_microseconds: u64,
    /// Elapsed time, microseconds.
    pub wall_microseconds: u64,
    /// The most linear memory at one time, bytes.
    pub peak_memory_bytes: u64,
    /// [`Metered::traffic_bytes`].
    pub traffic_bytes: u64,
    /// [`Metered::stored_byte_seconds`].
    pub stored_byte_seconds: u64,
}

/// `quantity` of what costs `price` for `unit` of it, rounded up; the most there is where that is beyond 128 bits.
fn part(price: &str, quantity: u128, unit: u128) -> Option<u128> {
    let price: u128 = price.parse().ok()?;
    let product = price.checked_mul(quantity);
    Some(product.map_or(u128::MAX, |product| product.div_ceil(unit)))
}

impl Tariff {
    /// What processor, memory, traffic and what is kept come to, and the sum with the base.
    fn parts(&self, used: Used) -> Option<([u128; 4], u128)> {
        let base: u128 = self.base.parse().ok()?;
        let held = u128::from(used.peak_memory_bytes) * u128::from(used.wall_microseconds);
        let parts = [
            part(&self.processor_hour, used.cpu_microseconds.into(), HOUR)?,
            part(&self.memory_gib_hour, held, GIB * HOUR)?,
            part(&self.traffic_gib, used.traffic_bytes.into(), GIB)?,
            part(
                &self.stored_gib_day,
                used.stored_byte_seconds.into(),
                GIB * DAY,
            )?,
        ];
        Some((parts, parts.into_iter().fold(base, u128::saturating_add)))
    }
}

/// The most that a run may come to: it is stopped when it has used more.
#[derive(Clone, Debug)]
pub struct Budget {
    /// What use costs.
    pub tariff: Tariff,
    /// What was signed for.
    pub maximum: u128,
    /// Bytes that came in before the run began.
    pub received: u64,
}

impl Budget {
    /// What `used` comes to and the maximum, where that is less. Amounts beyond 64 bits are given as the greatest that fits.
    pub fn exceeded(&self, used: Used) -> Option<(u64, u64)> {
        let used = Used {
            traffic_bytes: used.traffic_bytes.saturating_add(self.received),
            ..used
        };
        let (_, sum) = self.tariff.parts(used)?;
        let fit = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
        (sum > self.maximum).then(|| (fit(sum), fit(self.maximum)))
    }
}

impl Metered {
    /// What `used` costs. None where an amount is not a number of at most 128 bits.
    pub fn new(tariff: Tariff, maximum: &str, used: Used) -> Option<Self> {
        let ([processor, memory, traffic, stored], sum) = tariff.parts(used)?;
        let total = sum.min(maximum.parse().ok()?);
        Some(Self {
            tariff,
            maximum: maximum.to_owned(),
            traffic_bytes: used.traffic_bytes,
            processor: processor.to_string(),
            memory: memory.to_string(),
            traffic: traffic.to_string(),
            stored_byte_seconds: used.stored_byte_seconds,
            stored: stored.to_string(),
            total: total.to_string(),
        })
    }

    /// Whether it is what the numbers of the report beside it come to. That the bytes are those that were sent and received, and those
    /// that are kept, is for who has them.
    pub fn adds_up(&self, report: &Report) -> bool {
        let used = Used {
            cpu_microseconds: report.cpu_microseconds,
            wall_microseconds: report.wall_microseconds,
            peak_memory_bytes: report.peak_memory_bytes,
            traffic_bytes: self.traffic_bytes,
            stored_byte_seconds: self.stored_byte_seconds,
        };
        Self::new(self.tariff.clone(), &self.maximum, used).as_ref() == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Commitment, Exit};

    fn tariff() -> Tariff {
        Tariff {
            base: "100".to_owned(),
            processor_hour: "3600000".to_owned(),
            memory_gib_hour: "3600".to_owned(),
            traffic_gib: "1024".to_owned(),
            stored_gib_day: "4".to_owned(),
        }
    }

    const USED: Used = Used {
        cpu_microseconds: 1_500_001,
        wall_microseconds: 2_000_000,
        peak_memory_bytes: 1 << 29,
        traffic_bytes: (1 << 20) + 1,
        stored_byte_seconds: 1,
    };

    #[test]
    fn each_part_is_rounded_up_and_the_sum_is_at_most_what_was_signed() {
        let bill = Metered::new(tariff(), "1000000", USED).unwrap();
        let parts = [
            &bill.processor,
            &bill.memory,
            &bill.traffic,
            &bill.stored,
            &bill.total,
        ];
        assert_eq!(parts, ["1501", "1", "2", "1", "1605"]);
        let capped = Metered::new(tariff(), "1000", USED).unwrap();
        assert_eq!(capped.total, "1000");
        let nothing = Metered::new(tariff(), "1000", Used::default()).unwrap();
        assert_eq!(nothing.total, "100");
    }

    #[test]
    fn a_budget_is_exceeded_by_what_costs_more_than_was_signed_and_by_nothing_else() {
        let budget = |maximum, received| Budget {
            tariff: tariff(),
            maximum,
            received,
        };
        assert_eq!(budget(1605, 0).exceeded(USED), None);
        assert_eq!(budget(1604, 0).exceeded(USED), Some((1605, 1604)));
        assert_eq!(budget(1605, 1 << 20).exceeded(USED), Some((1606, 1605)));
        let much = u128::from(u64::MAX) + 7;
        let mut great = budget(much, 0);
        great.tariff.base = u128::MAX.to_string();
        assert_eq!(great.exceeded(USED), Some((u64::MAX, u64::MAX)));
    }

    #[test]
    fn a_bill_that_says_anything_else_than_its_report_does_not_add_up() {
        let mut report = Report::new(Exit::Ok, b"", Commitment::from([0; 32]));
        report.cpu_microseconds = USED.cpu_microseconds;
        report.wall_microseconds = USED.wall_microseconds;
        report.peak_memory_bytes = USED.peak_memory_bytes;
        let bill = Metered::new(tariff(), "1000000", USED).unwrap();
        assert!(bill.adds_up(&report));
        let changes: [fn(&mut Metered); 7] = [
            |bill| bill.total = "1606".to_owned(),
            |bill| bill.stored = "2".to_owned(),
            |bill| bill.processor = "1502".to_owned(),
            |bill| bill.traffic_bytes += 1 << 30,
            |bill| bill.tariff.base = "101".to_owned(),
            |bill| bill.tariff.memory_gib_hour = "-1".to_owned(),
            |bill| bill.maximum = "1".to_owned(),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = bill.clone();
            change(&mut changed);
            assert!(!changed.adds_up(&report), "change {number}");
        }
        report.cpu_microseconds += 1000;
        assert!(!bill.adds_up(&report));
    }

    proptest::proptest! {
        #[test]
        fn no_use_costs_more_than_was_signed_and_more_use_never_less(
            prices: [u64; 5], maximum: u64, used: [u64; 5], more: u64,
        ) {
            let [base, processor_hour, memory_gib_hour, traffic_gib, stored_gib_day] = prices.map(|it| it.to_string());
            let tariff = Tariff { base, processor_hour, memory_gib_hour, traffic_gib, stored_gib_day };
            let [cpu_microseconds, wall_microseconds, peak_memory_bytes, traffic_bytes, stored_byte_seconds] = used;
            let used = Used { cpu_microseconds, wall_microseconds, peak_memory_bytes, traffic_bytes, stored_byte_seconds };
            let total = |used| -> u128 {
                Metered::new(tariff.clone(), &maximum.to_string(), used).unwrap().total.parse().unwrap()
            };
            let once = total(used);
            proptest::prop_assert!(once <= u128::from(maximum));
            let cpu_microseconds = cpu_microseconds.saturating_add(more);
            let longer = total(Used { cpu_microseconds, ..used });
            proptest::prop_assert!(longer >= once);
        }
    }
}
