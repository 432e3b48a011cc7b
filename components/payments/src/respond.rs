//! The header that tells the client what became of the payment.

use serde_json::{Value, json};

use crate::api::{AuthorizedPayment, Header, Receipt, SettlementFailure};
use crate::error::Error;
use crate::evm;
use crate::extensions::receipt;
use crate::header::{Version, encode};
use crate::networks;
use crate::svm;

/// A payment that was made; `signed` is the receipt of the extension.
pub fn receipt(
    version: Version,
    payment: &AuthorizedPayment,
    transaction: &str,
    signed: Option<Value>,
) -> Result<Receipt, Error> {
    let mut response = json!({
        "success": true,
        "transaction": transaction,
        "network": network(version, payment),
        "payer": payment.id.payer,
    });
    if let (Version::V2, Some(members)) = (version, response.as_object_mut()) {
        members.insert("amount".to_owned(), payment.amount.clone().into());
        let signed = signed.map(|signed| json!({receipt::NAME: signed}));
        members.extend(signed.map(|it| ("extensions".to_owned(), it)));
    }
    Ok(Receipt {
        id: payment.id.clone(),
        amount: payment.amount.clone(),
        transaction: transaction.to_owned(),
        headers: vec![header(version, &response)?],
    })
}

/// A payment that was not made.
pub fn failure(
    version: Version,
    payment: &AuthorizedPayment,
    reason: &str,
    message: &str,
) -> Result<SettlementFailure, Error> {
    let response = json!({
        "success": false,
        "errorReason": reason,
        "transaction": "",
        "network": network(version, payment),
        "payer": payment.id.payer,
    });
    Ok(SettlementFailure {
        reason: reason.to_owned(),
        message: Some(message.to_owned()),
        headers: vec![header(version, &response)?],
    })
}

fn header(version: Version, response: &Value) -> Result<Header, Error> {
    let name = match version {
        Version::V1 => "x-payment-response",
        Version::V2 => "payment-response",
    };
    Ok(Header {
        name: name.to_owned(),
        value: encode(response)?,
    })
}

/// The chain's name in the version.
fn network(version: Version, payment: &AuthorizedPayment) -> &str {
    match (version, networks::v1_name_of(&payment.id.chain)) {
        (Version::V1, Some(name)) => name,
        _ => &payment.id.chain,
    }
}

/// The name of a transaction on a chain, in its one form. `None` if `text` does not have the shape of one.
pub fn transaction(network: &str, text: &str) -> Option<String> {
    if svm::is_network(network) {
        return svm::is_transaction(text).then(|| text.to_owned());
    }
    evm::word(text).map(evm::text)
}
