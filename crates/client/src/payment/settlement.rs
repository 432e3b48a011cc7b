//! PAYMENT-RESPONSE: what came of a payment, by the host's word.

use hypervisor_protocol::{Metered, Report};
use serde::Deserialize;

use crate::error::Error;
use crate::payment::challenge::decode;
use crate::payment::{Address, Amount, Authorization, Network, printable};

/// What became of paying for an execution. The host says so; only the chain can prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// The host did not ask for payment, and nothing was signed.
    NotAsked,
    /// A payment was signed and sent, and the host settled it.
    Paid(Box<PaymentReceipt>),
    /// A payment was signed and sent, and the host answered without a receipt, as it does for executions that failed: those
    /// are not charged. Until it ends, the authorization could still be settled.
    NotCharged(Box<Authorization>),
    /// A payment was signed and sent, the answer is authentic, and its receipt can not be read or is for another payment.
    Unclear {
        /// What was signed and sent.
        authorization: Box<Authorization>,
        /// What is wrong with the receipt.
        reason: String,
    },
}

/// A payment that the host says it settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentReceipt {
    /// Hash of the chain's transaction: `0x` and 64 hex digits.
    pub transaction: String,
    /// What was signed and sent: payer, amount, asset, network.
    pub authorization: Authorization,
    /// What was taken: the amount that was signed, or less where the run is paid by use.
    pub paid: Amount,
    /// How that adds up, by the sealed report, where the run is paid by use.
    pub metered: Option<Metered>,
}

impl PaymentReceipt {
    /// What was taken as people read it: `0.01 USDC`.
    pub fn price(&self) -> String {
        self.authorization.asset.show(self.paid)
    }
}

/// SettlementResponse of x402 version 2.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settlement {
    success: bool,
    error_reason: Option<String>,
    #[serde(default)]
    transaction: String,
    network: String,
    payer: Option<String>,
    amount: Option<String>,
}

impl Settlement {
    /// Reads the value of PAYMENT-RESPONSE.
    pub(crate) fn from_header(header: &[u8]) -> Result<Self, String> {
        decode(header)
    }

    /// Why it failed, for messages.
    pub(crate) fn reason(&self) -> String {
        printable(self.error_reason.as_deref().unwrap_or("no reason given"))
    }

    /// Whether it names a transaction: one was broadcast then, and may yet succeed.
    pub(crate) fn was_broadcast(&self) -> bool {
        !self.transaction.is_empty()
    }

    /// The receipt, if this is one for `authorization`.
    fn receipt(self, authorization: Authorization) -> Result<PaymentReceipt, String> {
        let Self {
            success,
            transaction,
            network,
            payer,
            amount,
            ..
        } = &self;
        if !success {
            return Err(format!("it says that settlement failed: {}", self.reason()));
        }
        if Network::from_caip2(network) != Some(authorization.asset.network) {
            return Err("it is for another network".to_owned());
        }
        let other_payer =
            |payer: &String| payer.parse::<Address>().ok() != Some(authorization.from);
        if payer.as_ref().is_some_and(other_payer) {
            return Err("it is for another payer".to_owned());
        }
        let most = authorization.amount;
        let paid = match amount {
            None => most,
            Some(amount) => amount.parse().map_err(|_| "its amount is none")?,
        };
        if paid > most || (paid < most && !authorization.method.is_upto()) {
            return Err("it is for another amount".to_owned());
        }
        let hash = transaction
            .strip_prefix("0x")
            .filter(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or("it names no transaction")?;
        Ok(PaymentReceipt {
            transaction: format!("0x{}", hash.to_ascii_lowercase()),
            authorization,
            paid,
            metered: None,
        })
    }
}

impl Payment {
    /// From the PAYMENT-RESPONSE headers of an answer to a request with this payment.
    pub(crate) fn from_headers<'a>(
        mut headers: impl Iterator<Item = &'a [u8]>,
        authorization: Authorization,
    ) -> Self {
        let receipt = match (headers.next(), headers.next()) {
            (None, _) => return Self::NotCharged(Box::new(authorization)),
            (Some(header), None) => Settlement::from_header(header)
                .and_then(|settlement| settlement.receipt(authorization.clone())),
            (Some(_), Some(_)) => Err("there are several".to_owned()),
        };
        match receipt {
            Ok(receipt) => Self::Paid(Box::new(receipt)),
            Err(reason) => Self::Unclear {
                authorization: Box::new(authorization),
                reason,
            },
        }
    }

    /// Holds the receipt to the sealed report, which nobody between here and the host can change.
    pub(crate) fn checked(mut self, report: &Report) -> Self {
        if let Self::Paid(receipt) = &mut self
            && receipt.authorization.method.is_upto()
        {
            match bill(receipt, report) {
                Ok(bill) => receipt.metered = Some(bill),
                Err(reason) => {
                    return Self::Unclear {
                        authorization: Box::new(receipt.authorization.clone()),
                        reason: reason.to_owned(),
                    };
                }
            }
        }
        let Some(authorization) = self.authorization() else {
            return self;
        };
        let nonce = authorization.nonce_text();
        let stated = report.payment.as_ref();
        let reason = match (
            &self,
            stated.filter(|stated| stated.nonce.eq_ignore_ascii_case(&nonce)),
        ) {
            (Self::NotCharged(_), Some(_)) => "it is missing, though the report says it was paid",
            (Self::Paid(receipt), Some(stated)) => match &stated.transaction {
                Some(sealed) if !sealed.eq_ignore_ascii_case(&receipt.transaction) => {
                    "its transaction is not the one in the report"
                }
                _ => return self,
            },
            _ => return self,
        };
        Self::Unclear {
            authorization: Box::new(authorization.clone()),
            reason: reason.to_owned(),
        }
    }

    /// What was signed and sent, if anything was.
    pub fn authorization(&self) -> Option<&Authorization> {
        match self {
            Self::NotAsked => None,
            Self::Paid(receipt) => Some(&receipt.authorization),
            Self::NotCharged(authorization) | Self::Unclear { authorization, .. } => {
                Some(authorization)
            }
        }
    }

    /// The receipt, if there is a good one.
    pub fn receipt(&self) -> Option<&PaymentReceipt> {
        match self {
            Self::Paid(receipt) => Some(receipt),
            _ => None,
        }
    }

    /// An error that came up after the payment was sent says so.
    pub(crate) fn taint(&self, source: Error) -> Error {
        match self.authorization() {
            None => source,
            Some(authorization) => Error::PaymentUncertain {
                authorization: Box::new(authorization.clone()),
                source: Box::new(source),
            },
        }
    }
}

/// How what was taken adds up, by the report's own numbers.
fn bill(receipt: &PaymentReceipt, report: &Report) -> Result<Metered, &'static str> {
    let bill = (report.metered.as_ref()).ok_or("the report does not say how its amount adds up")?;
    if !bill.adds_up(report) {
        return Err("what the report says of its price does not add up");
    }
    if bill.maximum != receipt.authorization.amount.to_string() {
        return Err("the report is of another maximum than was signed");
    }
    if bill.total != receipt.paid.to_string() {
        return Err("its amount is not what the report comes to");
    }
    Ok(bill.clone())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::payment::{Amount, Asset, Method};

    fn authorization() -> Authorization {
        Authorization {
            asset: Asset::known()
                .find(|asset| asset.network == Network::new(84532))
                .unwrap(),
            method: Method::Eip3009,
            from: "0x857b06519E91e3A54538791bDbb0E22373e36b66"
                .parse()
                .unwrap(),
            to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
                .parse()
                .unwrap(),
            amount: Amount::new(10_000),
            valid_after: 1,
            valid_before: 2,
            nonce: [7; 32],
        }
    }

    fn payment(headers: &[&[u8]]) -> Payment {
        Payment::from_headers(headers.iter().copied(), authorization())
    }

    fn response() -> Value {
        json!({
            "success": true, "network": "eip155:84532",
            "transaction": format!("0x{}", "Ab".repeat(32)),
            "payer": "0x857b06519e91e3a54538791bdbb0e22373e36b66", "amount": "10000",
        })
    }

    fn with(name: &str, value: Value) -> Payment {
        let mut response = response();
        response[name] = value;
        payment(&[STANDARD.encode(response.to_string()).as_bytes()])
    }

    /// The header of the example in the specification's HTTP transport, version 2.
    const EXAMPLE: &str = include_str!("../../vectors/payment-response.txt");

    #[test]
    fn the_example_of_the_specification_is_a_receipt() {
        let payment = payment(&[EXAMPLE.trim().as_bytes()]);
        assert_eq!(
            payment.receipt().unwrap().transaction,
            "0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef"
        );
    }

    #[test]
    fn a_receipt_names_its_transaction_in_lower_case() {
        let payment = with("unknown", json!({"more": 1}));
        assert_eq!(
            payment.receipt().unwrap().transaction,
            format!("0x{}", "ab".repeat(32))
        );
        assert_eq!(payment.authorization(), Some(&authorization()));
    }

    #[test]
    fn payer_and_amount_may_be_left_out() {
        assert!(with("payer", Value::Null).receipt().is_some());
        assert!(with("amount", Value::Null).receipt().is_some());
    }

    #[test]
    fn no_header_is_no_charge() {
        assert_eq!(payment(&[]), Payment::NotCharged(Box::new(authorization())));
    }

    #[test]
    fn what_is_no_receipt_for_this_payment_is_unclear() {
        for (name, value) in [
            ("success", json!(false)),
            ("network", json!("eip155:8453")),
            ("network", json!("base-sepolia")),
            ("payer", json!("0x209693Bc6afc0C5328bA36FaF03C514EF312287C")),
            ("payer", json!("someone")),
            ("amount", json!("9999")),
            ("transaction", json!("")),
            ("transaction", json!("0x12")),
            ("transaction", json!("\u{1b}[2J")),
        ] {
            let payment = with(name, value);
            assert!(
                matches!(payment, Payment::Unclear { .. }),
                "{name}: {payment:?}"
            );
        }
        assert!(matches!(payment(&[b"%"]), Payment::Unclear { .. }));
        let header = EXAMPLE.trim().as_bytes();
        assert!(matches!(
            payment(&[header, header]),
            Payment::Unclear { .. }
        ));
    }

    fn report(nonce: [u8; 32], transaction: Option<String>) -> Report {
        let commitment = hypervisor_protocol::Commitment::from([0; 32]);
        let mut report = Report::new(hypervisor_protocol::Exit::Ok, b"", commitment);
        let authorization = authorization();
        report.payment = Some(hypervisor_protocol::report::PaymentReceipt {
            network: authorization.asset.network.caip2(),
            asset: authorization.asset.address.to_string(),
            payer: authorization.from.to_string(),
            pay_to: authorization.to.to_string(),
            amount: authorization.amount.to_string(),
            nonce: const_hex::encode_prefixed(nonce),
            transaction,
        });
        report
    }

    #[test]
    fn a_receipt_that_was_taken_away_is_missed() {
        let taken = payment(&[]).checked(&report([7; 32], None));
        assert!(matches!(taken, Payment::Unclear { .. }), "{taken:?}");
    }

    #[test]
    fn a_receipt_must_be_that_of_the_report() {
        let paid = || with("amount", json!("10000"));
        let hash = format!("0x{}", "ab".repeat(32));
        for same in [Some(hash), None] {
            assert_eq!(paid().checked(&report([7; 32], same)), paid());
        }
        let other = paid().checked(&report([7; 32], Some(format!("0x{}", "cd".repeat(32)))));
        assert!(matches!(other, Payment::Unclear { .. }), "{other:?}");
    }

    #[test]
    fn another_payment_in_the_report_says_nothing_of_this_one() {
        assert_eq!(payment(&[]).checked(&report([8; 32], None)), payment(&[]));
    }

    fn by_use(paid: &str) -> Payment {
        let facilitator = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".parse().ok();
        let authorization = Authorization {
            method: Method::Permit2 { facilitator },
            ..authorization()
        };
        let mut response = response();
        response["amount"] = json!(paid);
        let header = STANDARD.encode(response.to_string()).into_bytes();
        Payment::from_headers([header.as_slice()].into_iter(), authorization)
    }

    #[test]
    fn what_was_taken_by_use_must_be_what_the_sealed_report_comes_to() {
        use hypervisor_protocol::metered::{Tariff, Used};
        let number = |number: u32| number.to_string();
        let tariff = Tariff {
            base: number(100),
            processor_hour: number(3600),
            memory_gib_hour: number(0),
            traffic_gib: number(0),
            stored_gib_day: number(0),
        };
        let used = Used {
            cpu_microseconds: 2_500_000,
            ..Used::default()
        };
        let mut good = report([8; 32], None);
        good.cpu_microseconds = used.cpu_microseconds;
        good.metered = Metered::new(tariff, "10000", used);
        let paid = by_use("103").checked(&good);
        assert_eq!(paid.receipt().unwrap().price(), "0.000103 USDC");
        assert_eq!(paid.receipt().unwrap().metered, good.metered);

        let unclear = |payment: Payment, report: &Report| {
            let checked = payment.checked(report);
            assert!(matches!(checked, Payment::Unclear { .. }), "{checked:?}");
        };
        unclear(by_use("104"), &good);
        unclear(by_use("10000"), &good);
        unclear(by_use("10001"), &good);
        let mut other = good.clone();
        other.cpu_microseconds -= 1_000_000;
        unclear(by_use("103"), &other);
        other = good.clone();
        other.metered.as_mut().unwrap().maximum = "20000".to_owned();
        unclear(by_use("103"), &other);
        other.metered = None;
        unclear(by_use("103"), &other);
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_unclear(json in r#"(\{"success":true,.{0,60}\}|.{0,60})"#, bytes: Vec<u8>) {
            let _ = payment(&[STANDARD.encode(json).as_bytes()]);
            let _ = payment(&[&bytes]);
        }
    }
}
