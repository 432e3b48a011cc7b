//! Intel's collateral, which goes with quotes so that clients verify them offline, and when it expires.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

/// How long before the collateral expires its operator is told.
const NOTICE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Collateral as dcap-qvl writes it. It is passed on as it is, also where this cannot read it: verifiers judge it.
#[derive(Debug, Clone)]
pub struct Collateral {
    json: Vec<u8>,
    expires: Result<SystemTime, String>,
}

/// The signed documents with a date, each JSON in a string.
#[derive(Deserialize)]
struct Documents {
    tcb_info: String,
    qe_identity: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dated {
    next_update: String,
}

impl Collateral {
    /// Collateral from its JSON.
    pub fn new(json: Vec<u8>) -> Self {
        Self {
            expires: expiry(&json),
            json,
        }
    }

    /// The bytes as they are sent.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// When the first of TCB info and QE identity is to be replaced, in Unix seconds; none where the collateral cannot be read.
    pub fn expires_at(&self) -> Option<u64> {
        let expires = self.expires.as_ref().ok()?;
        let since = expires.duration_since(SystemTime::UNIX_EPOCH);
        Some(since.map_or(0, |since| since.as_secs()))
    }

    /// What an operator has to be told at the time `now`.
    pub fn trouble(&self, now: SystemTime) -> Option<String> {
        let expires = match &self.expires {
            Ok(expires) => *expires,
            Err(reason) => {
                return Some(format!(
                    "it is not the JSON of a QuoteCollateralV3 ({reason}): clients cannot verify this host"
                ));
            }
        };
        let date = humantime::format_rfc3339_seconds(expires);
        match expires.duration_since(now) {
            Err(_) => Some(format!(
                "it expired at {date}: clients refuse this host; fetch it again and restart the host"
            )),
            Ok(left) if left < NOTICE => Some(format!(
                "it expires at {date}: fetch it again and restart the host before then"
            )),
            Ok(_) => None,
        }
    }
}

fn expiry(json: &[u8]) -> Result<SystemTime, String> {
    let date = |document: &str| -> Result<SystemTime, String> {
        let dated: Dated = serde_json::from_str(document).map_err(|e| e.to_string())?;
        humantime::parse_rfc3339(&dated.next_update).map_err(|e| format!("nextUpdate: {e}"))
    };
    let documents: Documents = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    Ok(date(&documents.tcb_info)?.min(date(&documents.qe_identity)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(1_750_000_000);

    /// Collateral whose earlier date is `seconds` after [`AT`].
    fn collateral(seconds: u64) -> Collateral {
        let date = |seconds| {
            let at = SystemTime::UNIX_EPOCH + AT + Duration::from_secs(seconds);
            format!(r#"{{"nextUpdate":"{}"}}"#, humantime::format_rfc3339(at))
        };
        let json = serde_json::json!({
            "tcb_info": date(seconds + 60), "qe_identity": date(seconds), "pck_crl": "00",
        });
        Collateral::new(json.to_string().into_bytes())
    }

    fn trouble(collateral: &Collateral) -> String {
        let now = SystemTime::UNIX_EPOCH + AT;
        collateral.trouble(now).unwrap_or_default()
    }

    #[test]
    fn its_operator_is_told_a_week_before_it_expires_and_afterwards() {
        let week = NOTICE.as_secs();
        assert_eq!(trouble(&collateral(week)), "");
        assert!(trouble(&collateral(week - 1)).contains("expires at 2025-06-22T"));
        let late = collateral(0);
        assert_eq!(late.expires_at(), Some(AT.as_secs()));
        assert!(
            late.trouble(SystemTime::now())
                .unwrap()
                .contains("expired at 2025-06-15T")
        );
    }

    #[test]
    fn its_operator_is_told_that_it_cannot_be_read() {
        for bytes in ["", "{}", r#"{"tcb_info":"{}","qe_identity":"{}"}"#] {
            let collateral = Collateral::new(bytes.as_bytes().to_vec());
            assert_eq!(collateral.expires_at(), None);
            assert!(trouble(&collateral).contains("not the JSON"), "{bytes}");
        }
    }
}
