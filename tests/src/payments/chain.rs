//! A development chain that is Base Sepolia to its users, with Circle's USDC at its true address.

use serde_json::{Value, json};

use super::script::Script;
use super::sign::{Address, Payer, Version, keccak, random, word};

/// A running chain; ended when dropped. Each account's USDC starts at 1000 (10⁹ of the smallest unit).
pub struct Chain {
    _script: Script,
    http: reqwest::Client,
    rpc: String,
    usdc: Address,
    plain_token: Address,
    wallet: Address,
    pay_to: Address,
    payers: Vec<Payer>,
}

/// USDC that moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Whose it was.
    pub from: Address,
    /// Whose it is.
    pub to: Address,
    /// How much, in the smallest unit.
    pub value: u128,
    /// The transaction's hash, as hex.
    pub transaction: String,
}

impl Chain {
    /// Starts a chain of its own.
    pub fn start() -> Self {
        let (script, facts) = Script::start("chain.mjs", &[]);
        let address = |field: &str| facts[field].as_str().unwrap().parse().unwrap();
        let payer = |payer: &Value| {
            let key = payer["privateKey"].as_str().unwrap();
            Payer::from_key(&const_hex::decode_to_array(key).unwrap())
        };
        Self {
            _script: script,
            http: reqwest::Client::new(),
            rpc: facts["rpc"].as_str().unwrap().to_owned(),
            usdc: address("usdc"),
            plain_token: address("plainToken"),
            wallet: address("wallet"),
            pay_to: address("payTo"),
            payers: facts["payers"]
                .as_array()
                .unwrap()
                .iter()
                .map(payer)
                .collect(),
        }
    }

    /// Address of the JSON-RPC server.
    pub fn rpc_url(&self) -> &str {
        &self.rpc
    }

    /// The USDC contract.
    pub fn usdc(&self) -> Address {
        self.usdc
    }

    /// A token without EIP-3009.
    pub fn plain_token(&self) -> Address {
        self.plain_token
    }

    /// Who gets paid.
    pub fn pay_to(&self) -> Address {
        self.pay_to
    }

    /// One of the four accounts that have money.
    pub fn payer(&self, index: usize) -> &Payer {
        &self.payers[index]
    }

    /// An offer (payment requirements) of this price in USDC, its smallest unit.
    pub fn offer(&self, version: Version, price: u128) -> Value {
        let mut offer = json!({
            "scheme": "exact",
            "network": match version {
                Version::V1 => "base-sepolia",
                Version::V2 => "eip155:84532",
            },
            "asset": self.usdc.to_string(),
            "payTo": self.pay_to.to_string(),
            "maxTimeoutSeconds": 60,
            "extra": {"name": "USDC", "version": "2"},
        });
        offer[version.amount_field()] = price.to_string().into();
        if version == Version::V1 {
            offer["resource"] = "http://localhost/resource".into();
            offer["description"] = "".into();
            offer["mimeType"] = "application/json".into();
        }
        offer
    }

    /// USDC of an account, in the smallest unit.
    pub async fn balance_of(&self, account: Address) -> u128 {
        let balance = self.call("balanceOf(address)", &[account.word()]).await;
        u128::from_be_bytes(balance[16..].try_into().unwrap())
    }

    /// Whether a payer's nonce is spent (EIP-3009).
    pub async fn authorization_state(&self, payer: Address, nonce: [u8; 32]) -> bool {
        self.call(
            "authorizationState(address,bytes32)",
            &[payer.word(), nonce],
        )
        .await
            == word(1)
    }

    /// All USDC that moved between accounts, in order.
    pub async fn transfers(&self) -> Vec<Transfer> {
        let event = const_hex::encode_prefixed(keccak(b"Transfer(address,address,uint256)"));
        let filter = json!({
            "address": self.usdc.to_string(), "topics": [event], "fromBlock": "0x0", "toBlock": "latest",
        });
        let word = |value: &Value| const_hex::decode_to_array(value.as_str().unwrap()).unwrap();
        self.rpc("eth_getLogs", json!([filter]))
            .await
            .as_array()
            .unwrap()
            .iter()
            .map(|log| Transfer {
                from: Address::from_word(&word(&log["topics"][1])),
                to: Address::from_word(&word(&log["topics"][2])),
                value: u128::from_be_bytes(word(&log["data"])[16..].try_into().unwrap()),
                transaction: log["transactionHash"].as_str().unwrap().to_owned(),
            })
            // Money that was minted came from nobody.
            .filter(|transfer| transfer.from != Address([0; 20]))
            .collect()
    }

    /// Whether transactions are mined as they come (as at the start) or only by [`Chain::mine`].
    pub async fn set_automine(&self, on: bool) {
        self.rpc("evm_setAutomine", json!([on])).await;
    }

    /// Mines one block.
    pub async fn mine(&self) {
        self.rpc("evm_mine", json!([])).await;
    }

    /// What [`Chain::take_back`] goes back to.
    pub async fn mark(&self) -> Value {
        self.rpc("evm_snapshot", json!([])).await
    }

    /// Takes back all blocks since a mark, as a reorganization does.
    pub async fn take_back(&self, mark: Value) {
        self.rpc("evm_revert", json!([mark])).await;
    }

    /// Moves the chain's clock forward. The facilitator's clock is this machine's and stays.
    pub async fn advance(&self, seconds: u64) {
        self.rpc("evm_increaseTime", json!([seconds])).await;
        self.mine().await;
    }

    /// The chain's time: that of its last block, in seconds since 1970.
    pub async fn time(&self) -> u64 {
        let block = self
            .rpc("eth_getBlockByNumber", json!(["latest", false]))
            .await;
        let time = block["timestamp"].as_str().unwrap();
        u64::from_str_radix(time.trim_start_matches("0x"), 16).unwrap()
    }

    /// Puts code at an address.
    pub async fn set_code(&self, account: Address, code: &[u8]) {
        let code = const_hex::encode_prefixed(code);
        self.rpc("anvil_setCode", json!([account.to_string(), code]))
            .await;
    }

    /// Delegates an account to the code of a contract (EIP-7702).
    pub async fn delegate(&self, account: Address, to: Address) {
        self.set_code(account, &[&[0xef, 0x01, 0x00], to.0.as_slice()].concat())
            .await;
    }

    /// Delegates an account to a wallet that vouches for its owner's signatures (EIP-7702, ERC-1271).
    pub async fn delegate_to_wallet(&self, account: Address, owner: Address) {
        self.delegate(account, self.wallet).await;
        self.set_owner(account, owner).await;
    }

    /// A contract wallet with money that vouches for its owner's signatures (ERC-1271).
    pub async fn wallet_of(&self, owner: Address, funds: u128) -> Address {
        let wallet = Address(random());
        let code = self
            .rpc("eth_getCode", json!([self.wallet.to_string(), "latest"]))
            .await;
        self.set_code(wallet, &const_hex::decode(code.as_str().unwrap()).unwrap())
            .await;
        self.set_owner(wallet, owner).await;
        self.mint(wallet, funds).await;
        wallet
    }

    /// Asks the JSON-RPC server; panics when it answers with an error.
    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = super::facilitator::post(&self.http, &self.rpc, &request).await;
        match answer.get("error") {
            None => answer["result"].clone(),
            Some(error) => panic!("{method}: {error}"),
        }
    }

    async fn set_owner(&self, wallet: Address, owner: Address) {
        let [slot, owner] = [word(0), owner.word()].map(const_hex::encode_prefixed);
        self.rpc(
            "anvil_setStorageAt",
            json!([wallet.to_string(), slot, owner]),
        )
        .await;
    }

    /// Mints USDC with the keys of its issuer, which the chain holds.
    async fn mint(&self, account: Address, amount: u128) {
        let issuer = self.rpc("eth_accounts", json!([])).await[0].clone();
        for data in [
            calldata(
                "configureMinter(address,uint256)",
                &[
                    issuer.as_str().unwrap().parse::<Address>().unwrap().word(),
                    word(amount),
                ],
            ),
            calldata("mint(address,uint256)", &[account.word(), word(amount)]),
        ] {
            let transaction = json!({"from": issuer, "to": self.usdc.to_string(), "data": data});
            self.rpc("eth_sendTransaction", json!([transaction])).await;
        }
    }

    /// Reads a word from the USDC contract.
    async fn call(&self, function: &str, arguments: &[[u8; 32]]) -> [u8; 32] {
        let call = json!({"to": self.usdc.to_string(), "data": calldata(function, arguments)});
        let answer = self.rpc("eth_call", json!([call, "latest"])).await;
        const_hex::decode_to_array(answer.as_str().unwrap()).unwrap()
    }
}

/// A call by the contract ABI: the first 4 bytes of the signature's hash, then words.
fn calldata(function: &str, arguments: &[[u8; 32]]) -> String {
    let selector = &keccak(function.as_bytes())[..4];
    const_hex::encode_prefixed([selector, &arguments.concat()].concat())
}
