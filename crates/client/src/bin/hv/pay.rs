//! `--pay` and what belongs to it.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use hypervisor_client::payment::{
    Asset, Authorization, Network, Payer, Payment, PaymentPolicy, PaymentReceipt, Price, Wallet,
};
use hypervisor_client::protocol::metered::{Metered, Tariff};
use serde_json::{Value, json};

use crate::Failure;
use crate::console::note;

/// Holds the key itself, for where there are no files. Not an option: other users see command lines.
const KEY_VARIABLE: &str = "HV_PAY_KEY";

#[derive(Debug, Args)]
#[command(next_help_heading = "Payment")]
pub(crate) struct Pay {
    /// Pay for it with the key in this file: 64 hex digits. The variable HV_PAY_KEY can hold the key instead.
    #[arg(long = "pay", value_name = "KEYFILE", requires = "max_price")]
    key_file: Option<PathBuf>,
    /// Most to pay for it, in units of the asset: 0.05 is five cents of a dollar coin. A host that is paid by use takes less, and
    /// what it took is held against the sealed report.
    #[arg(long, value_name = "AMOUNT")]
    max_price: Option<Price>,
    /// Pay on this network only, such as base, base-sepolia or eip155:8453; may be given several times.
    #[arg(long, value_name = "NETWORK", requires = "max_price")]
    pay_network: Vec<Network>,
    /// Pay with this token too, besides USDC: eip155:8453/0xADDRESS:DECIMALS:NAME:VERSION, NAME and VERSION of its EIP-712 domain.
    #[arg(long, value_name = "ASSET", requires = "max_price")]
    pay_asset: Vec<Asset>,
}

impl Pay {
    /// Who pays, if anyone does. Nothing is ever paid without a cap on the command line.
    pub(crate) fn payer(&self, server: &str) -> Result<Option<Payer>, Failure> {
        let Some(max_price) = self.max_price else {
            return Ok(None);
        };
        let wallet = match &self.key_file {
            Some(path) => {
                warn_if_readable(path)?;
                Wallet::from_file(path)?
            }
            None => Wallet::from_environment(KEY_VARIABLE)?.ok_or_else(|| {
                Failure::Usage(format!(
                    "--max-price needs a key to pay with: give --pay KEYFILE or set {KEY_VARIABLE}"
                ))
            })?,
        };
        if travels_in_clear(server) {
            note(format_args!(
                "warning: {server} is not https: anyone who sees the payment on its way can spend it on a run of their own"
            ))?;
        }
        let policy = PaymentPolicy::new(max_price);
        let policy = self.pay_network.iter().fold(policy, |p, n| p.network(*n));
        let assets = self.pay_asset.iter().cloned();
        let policy = assets.fold(policy, PaymentPolicy::asset);
        let payer = Payer::new(wallet, policy);
        // That it cannot be said is no reason not to pay what the command line allows.
        Ok(Some(payer.estimates(|estimate| {
            let _ = note(format_args!("paid {estimate}"));
        })))
    }
}

/// One line for people.
pub(crate) fn text(payment: &Payment) -> String {
    match payment {
        Payment::NotAsked => "nothing paid: the host did not ask for payment".to_owned(),
        Payment::Paid(receipt) => {
            let Authorization { asset, .. } = &receipt.authorization;
            let (price, transaction) = (receipt.price(), &receipt.transaction);
            let paid = format!(
                "paid {price} on {}, transaction {transaction}",
                asset.network
            );
            match &receipt.metered {
                None => paid,
                Some(bill) => format!("{paid}\n{}", adds_up(receipt, bill)),
            }
        }
        Payment::NotCharged(authorization) => format!(
            "not charged: the host sent no receipt; it could still settle what was signed: {authorization}"
        ),
        Payment::Unclear {
            authorization,
            reason,
        } => format!(
            "the receipt of the payment is not usable: {reason}; the payment may have been made: {authorization}"
        ),
    }
}

/// How the price of a run that is paid by use adds up.
fn adds_up(receipt: &PaymentReceipt, bill: &Metered) -> String {
    let asset = &receipt.authorization.asset;
    let shown = |amount: &str| match amount.parse() {
        Ok(amount) => asset.show(amount),
        Err(_) => "?".to_owned(),
    };
    let Tariff {
        base,
        processor_hour,
        memory_gib_hour,
        traffic_gib,
        stored_gib_day,
    } = &bill.tariff;
    let capped = match bill.total == bill.maximum {
        true => ", which is all that was signed for",
        false => "",
    };
    let stored = match bill.stored_byte_seconds {
        0 => String::new(),
        _ => format!(
            ", {} for what is kept at {} a GiB and day",
            shown(&bill.stored),
            shown(stored_gib_day)
        ),
    };
    format!(
        "by use, of at most {}: {} for the run, {} for processor time at {} an hour, {} for memory at {} a GiB and hour, {} for {} bytes at {} a GiB{stored}; it adds up to {}{capped}",
        shown(&bill.maximum),
        shown(base),
        shown(&bill.processor),
        shown(processor_hour),
        shown(&bill.memory),
        shown(memory_gib_hour),
        shown(&bill.traffic),
        bill.traffic_bytes,
        shown(traffic_gib),
        shown(&bill.total),
    )
}

/// The same for machines.
pub(crate) fn json(payment: &Payment) -> Value {
    let status = match payment {
        Payment::NotAsked => "not-asked",
        Payment::Paid(_) => "paid",
        Payment::NotCharged(_) => "not-charged",
        Payment::Unclear { .. } => "unclear",
    };
    let Some(authorization) = payment.authorization() else {
        return json!({ "status": status });
    };
    let asset = &authorization.asset;
    let receipt = payment.receipt();
    let amount = receipt.map_or(authorization.amount, |receipt| receipt.paid);
    json!({
        "status": status,
        "amount": amount.in_units(asset.decimals),
        "maximum": authorization.amount.in_units(asset.decimals),
        "metered": receipt.and_then(|receipt| receipt.metered.as_ref()),
        "asset": asset.symbol,
        "asset_address": asset.address,
        "network": asset.network,
        "transaction": payment.receipt().map(|receipt| &receipt.transaction),
        "payer": authorization.from,
        "pay_to": authorization.to,
        "nonce": authorization.nonce_text(),
        "valid_before": authorization.valid_before,
    })
}

/// Says so when others than the owner can read the key. A file that is not there is reported when it is read.
fn warn_if_readable(path: &Path) -> Result<(), Failure> {
    let mode = match std::fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(Failure::Io {
                what: format!("cannot read {}", path.display()),
                source,
            });
        }
    };
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    note(format_args!(
        "warning: others can read the key in {path}: run chmod 600 {path}"
    ))
}

/// Whether requests leave this machine without encryption. What is no address is reported when it is used.
fn travels_in_clear(server: &str) -> bool {
    let Ok(url) = url::Url::parse(server) else {
        return false;
    };
    let local = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_to_another_machine_travels_in_clear() {
        for (server, clear) in [
            ("http://host.example:8080", true),
            ("http://192.0.2.1", true),
            ("http://[2001:db8::1]:8080", true),
            ("https://host.example", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://localhost:8080", false),
            ("nonsense", false),
        ] {
            assert_eq!(travels_in_clear(server), clear, "{server}");
        }
    }
}
