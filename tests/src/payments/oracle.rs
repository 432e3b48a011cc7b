//! Which payments are good, by the word of the reference facilitator and the real token: one row each.
//!
//! `payment_rig.rs` holds the table to the official facilitator; the host's tests hold the host to the same table.
//! A host may refuse for reasons of its own wording, but never serve where a row says refused.

use serde_json::Value;

use super::chain::Chain;
use super::facilitator::Facilitator;
use super::sign::{Payer, Payment, Tamper, now};

/// The price of the offers the table is written for, in the smallest unit.
pub const PRICE: u128 = 1000;

/// One payment, and what becomes of it.
pub struct Row {
    /// What is wrong with it, if anything.
    pub name: &'static str,
    /// What has happened before.
    pub scene: Scene,
    /// What is wrong with the seller's own offer; `None` where the fault is the payer's alone.
    pub offer: Option<fn(&Chain, &mut Value)>,
    /// What the payer bends.
    pub payment: fn(&mut Payment),
    /// The facilitator's reasons for version 2.
    pub v2: Verdict,
    /// The facilitator's reasons for version 1.
    pub v1: Verdict,
}

/// Why the facilitator refuses; `None` where it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `invalidReason` of `/verify`.
    pub verify: Option<&'static str>,
    /// `errorReason` of `/settle`. For version 1, where the chain refuses, that is a text of many lines: part of it.
    pub settle: Option<&'static str>,
}

/// What has happened on the chain before a payment is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// The payer has money.
    Ready,
    /// The payer has none.
    Penniless,
    /// The same payment was settled already.
    Settled,
    /// The payer's account is delegated (EIP-7702) to code that vouches for no signature.
    Delegated,
    /// The payer's account is delegated (EIP-7702) to a wallet that vouches for the payer's signatures.
    DelegatedToWallet,
    /// The money belongs to a contract that vouches for the payer's signatures (ERC-1271).
    ContractWallet,
}

impl Row {
    /// Whether the payment is good in every respect.
    pub fn is_good(&self) -> bool {
        self.v2.verify.is_none()
    }

    /// The seller's offer, bent where the row says so.
    pub fn offer(&self, chain: &Chain, mut offer: Value) -> Value {
        if let Some(bend) = self.offer {
            bend(chain, &mut offer);
        }
        offer
    }

    /// Sets the scene and makes the payment for this offer. Each call makes another payment.
    pub async fn stage(&self, chain: &Chain, facilitator: &Facilitator, offer: &Value) -> Payment {
        let payer = match self.scene {
            Scene::Ready | Scene::Settled => chain.payer(0).clone(),
            Scene::Penniless | Scene::ContractWallet => Payer::generate(),
            // For good: no other row pays from these accounts.
            Scene::Delegated => chain.payer(1).clone(),
            Scene::DelegatedToWallet => chain.payer(2).clone(),
        };
        let mut payment = Payment::for_offer(&payer, offer);
        match self.scene {
            Scene::Delegated => chain.delegate(payer.address(), chain.usdc()).await,
            Scene::DelegatedToWallet => {
                chain
                    .delegate_to_wallet(payer.address(), payer.address())
                    .await;
            }
            Scene::ContractWallet => {
                payment.authorization.from = chain.wallet_of(payer.address(), PRICE).await;
            }
            Scene::Ready | Scene::Penniless | Scene::Settled => {}
        }
        (self.payment)(&mut payment);
        if self.scene == Scene::Settled {
            let settled = facilitator.settle(&payment.question(offer)).await;
            assert_eq!(settled["success"], true, "{settled}");
        }
        payment
    }
}

const SIGNATURE: &str = "invalid_exact_evm_signature";
const SIMULATION: &str = "invalid_exact_evm_transaction_simulation_failed";
const RECIPIENT: &str = "invalid_exact_evm_recipient_mismatch";
const VALUE: &str = "invalid_exact_evm_payload_authorization_value_mismatch";
const VALUE_V1: &str = "invalid_exact_evm_authorization_value";
const BEFORE: &str = "invalid_exact_evm_payload_authorization_valid_before";
const AFTER: &str = "invalid_exact_evm_payload_authorization_valid_after";
const NETWORK: &str = "invalid_exact_evm_network_mismatch";
const NO_DOMAIN: &str = "invalid_exact_evm_missing_eip712_domain";
const TOKEN_NAME: &str = "invalid_exact_evm_token_name_mismatch";
const TOKEN_VERSION: &str = "invalid_exact_evm_token_version_mismatch";
const NO_CODE: &str = "asset_not_deployed_contract";
const NO_EIP3009: &str = "invalid_exact_evm_eip3009_not_supported";
const BALANCE: &str = "invalid_exact_evm_insufficient_balance";
const NONCE: &str = "invalid_exact_evm_nonce_already_used";
const FACTORY: &str = "eip6492_factory_not_allowed";
const NOT_SENT: &str = "invalid_exact_evm_transaction_failed";
const NO_TRANSFER: &str = "invalid_exact_evm_transfer_event_mismatch";

/// The end of an ERC-6492 signature.
const ERC6492_MAGIC: [u8; 2] = [0x64, 0x92];

impl Verdict {
    const GOOD: Self = Self {
        verify: None,
        settle: None,
    };

    const fn refused(reason: &'static str) -> Self {
        Self {
            verify: Some(reason),
            settle: Some(reason),
        }
    }
}

impl Row {
    const fn good(name: &'static str) -> Self {
        Self {
            name,
            scene: Scene::Ready,
            offer: None,
            payment: |_| {},
            v2: Verdict::GOOD,
            v1: Verdict::GOOD,
        }
    }

    const fn refused(name: &'static str, reason: &'static str, payment: fn(&mut Payment)) -> Self {
        Self {
            payment,
            v2: Verdict::refused(reason),
            v1: Verdict::refused(reason),
            ..Self::good(name)
        }
    }

    /// Other reasons to settle it in version 2 and in version 1.
    const fn settle(self, v2: &'static str, v1: &'static str) -> Self {
        let [mut in_v2, mut in_v1] = [self.v2, self.v1];
        in_v2.settle = Some(v2);
        in_v1.settle = Some(v1);
        Self {
            v2: in_v2,
            v1: in_v1,
            ..self
        }
    }

    const fn v1(self, v1: Verdict) -> Self {
        Self { v1, ..self }
    }

    const fn scene(self, scene: Scene) -> Self {
        Self { scene, ..self }
    }

    const fn offered(self, offer: fn(&Chain, &mut Value)) -> Self {
        Self {
            offer: Some(offer),
            ..self
        }
    }
}

/// The table.
pub static ROWS: &[Row] = &[
    Row::good("valid"),
    // The signature.
    Row::refused("one bit of the signature flipped", SIGNATURE, |p| {
        p.tamper = Tamper::FlippedBit;
    }),
    Row::refused("signature of 64 bytes", SIGNATURE, |p| {
        p.tamper = Tamper::Compact;
    }),
    Row::refused("signature of 66 bytes", SIGNATURE, |p| {
        p.tamper = Tamper::TooLong;
    }),
    Row::refused("empty signature", SIGNATURE, |p| {
        p.tamper = Tamper::Empty;
    }),
    Row::refused("signature with high s", SIMULATION, |p| {
        p.tamper = Tamper::HighS;
    })
    .settle(SIGNATURE, "ECRecover: invalid signature 's' value"),
    Row::refused("signature with v 0 or 1", SIMULATION, |p| {
        p.tamper = Tamper::LowV;
    })
    .settle(SIGNATURE, "ECRecover: invalid signature 'v' value"),
    Row::refused("signed by somebody else", SIGNATURE, |p| {
        p.signer = Payer::generate();
    }),
    Row::refused("signed for another chain", SIGNATURE, |p| {
        p.domain.chain_id = 8453;
    }),
    Row::refused("signed for another token", SIGNATURE, |p| {
        p.domain.contract.0[0] ^= 1;
    }),
    Row::refused("signed for another token name", SIGNATURE, |p| {
        p.domain.name = "USD Coin".to_owned();
    }),
    Row::refused("signed for another token version", SIGNATURE, |p| {
        p.domain.version = "1".to_owned();
    }),
    // What is authorized.
    Row::refused("to somebody else", RECIPIENT, |p| {
        p.authorization.to.0[0] ^= 1;
    }),
    Row::refused("999 for 1000", VALUE, |p| p.authorization.value -= 1)
        .v1(Verdict::refused(VALUE_V1)),
    Row::refused("1001 for 1000", VALUE, |p| p.authorization.value += 1)
        .v1(Verdict::refused(VALUE_V1)),
    Row::refused("expired", BEFORE, |p| {
        p.authorization.valid_before = now() - 1;
    }),
    Row::refused("expires in three seconds", BEFORE, |p| {
        p.authorization.valid_before = now() + 3;
    }),
    Row::refused("valid only later", AFTER, |p| {
        p.authorization.valid_after = now() + 600;
        p.authorization.valid_before = now() + 1200;
    }),
    Row::refused("accepted another network", NETWORK, |p| {
        p.accepted["network"] = match p.version {
            super::Version::V1 => "base".into(),
            super::Version::V2 => "eip155:8453".into(),
        };
    }),
    // The seller's own offer.
    Row::refused("offer names the wrong token name", TOKEN_NAME, |_| {})
        .offered(|_, offer| offer["extra"]["name"] = "USD Coin".into())
        .settle(SIGNATURE, "FiatTokenV2: invalid signature"),
    Row::refused("offer names the wrong token version", TOKEN_VERSION, |_| {})
        .offered(|_, offer| offer["extra"]["version"] = "1".into())
        .settle(SIGNATURE, "FiatTokenV2: invalid signature"),
    Row::refused("offer without extra", NO_DOMAIN, |_| {}).offered(|_, offer| {
        offer.as_object_mut().unwrap().remove("extra");
    }),
    Row::refused("asset without code", NO_CODE, |_| {})
        .offered(|_, offer| {
            offer["asset"] = super::Address::random().to_string().into();
        })
        // Version 1 does not look: a call to an address without code succeeds.
        .v1(Verdict {
            verify: None,
            settle: Some(NO_TRANSFER),
        }),
    Row::refused("asset without EIP-3009", NO_EIP3009, |_| {})
        .offered(|chain, offer| offer["asset"] = chain.plain_token().to_string().into())
        .settle(NOT_SENT, "execution reverted"),
    // What only the chain can tell.
    Row::refused("payer without money", BALANCE, |_| {})
        .scene(Scene::Penniless)
        .settle(BALANCE, "ERC20: transfer amount exceeds balance"),
    Row::refused("settled already", NONCE, |_| {})
        .scene(Scene::Settled)
        .settle(NONCE, "FiatTokenV2: authorization is used or canceled"),
    Row::refused(
        "payer delegated to code that vouches for nothing",
        SIGNATURE,
        |_| {},
    )
    .scene(Scene::Delegated),
    Row::good("payer delegated to a wallet that vouches for the signature")
        .scene(Scene::DelegatedToWallet),
    Row::good("contract wallet that vouches for its owner's signature")
        .scene(Scene::ContractWallet),
    Row::refused(
        "wallet still to be deployed by an unknown factory",
        FACTORY,
        |p| {
            p.tamper = Tamper::Other(undeployed_wallet_signature(&p.signature()));
        },
    ),
];

/// A signature of ERC-6492: `(address factory, bytes calldata, bytes signature)` by the ABI, then 32 bytes of magic.
fn undeployed_wallet_signature(inner: &[u8]) -> Vec<u8> {
    use super::sign::word;
    let mut padded = inner.to_vec();
    padded.resize(inner.len().next_multiple_of(32), 0);
    [
        super::Address::random().word().as_slice(),
        // Offsets: of the calldata behind these three words, and of the signature behind its length word.
        &word(96),
        &word(128),
        &word(0),
        &word(inner.len() as u128),
        &padded,
        &ERC6492_MAGIC.repeat(16),
    ]
    .concat()
}
