// Solana's own runtime and token program (LiteSVM) as a devnet, and the official facilitator on it, on one free loopback port.
// The runtime, the SPL Token program and the facilitator are real. The JSON-RPC in front of the runtime is written here, with
// the methods that the facilitator, the clients and the payment component use, and nothing of consensus: each transaction is a
// block, and final.
// Prints {rpc, facilitator, usdc, feePayer, payTo, payers: [{address, privateKey}]}. GET /calls counts calls: {verify, settle}.

import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';

import {
  createKeyPairSignerFromPrivateKeyBytes,
  getAddressCodec,
  getBase58Codec,
  getCompiledTransactionMessageDecoder,
  getTransactionDecoder,
} from '@solana/kit';
import {
  AccountState,
  findAssociatedTokenPda,
  getMintEncoder,
  getTokenDecoder,
  getTokenEncoder,
  TOKEN_PROGRAM_ADDRESS,
} from '@solana-program/token';
import { x402Facilitator } from '@x402/core/facilitator';
import { SOLANA_DEVNET_CAIP2, toFacilitatorSvmSigner, USDC_DEVNET_ADDRESS } from '@x402/svm';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { registerExactSvmScheme } from '@x402/svm/exact/facilitator';

import { serve } from './desk.mjs';
import { ready } from './stdio.mjs';

// The binding itself: the package around it needs a Node.js newer than the tests do.
const { Account, FailedTransactionMetadata, LiteSvm } = createRequire(import.meta.url)('litesvm-linux-x64-gnu');

const GENESIS = 'EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG';
const PAYERS = 2;
// 1000 USDC each, and 1 SOL; the token has 6 decimals.
const FUNDS = 1_000_000_000n;
const LAMPORTS = 1_000_000_000n;

const base58 = getBase58Codec();
const bytes = (address) => Uint8Array.from(getAddressCodec().encode(address));
const svm = new LiteSvm();

/** Makes an account of the token program. */
function put(address, data) {
  const content = Uint8Array.from(data);
  const rent = svm.minimumBalanceForRentExemption(BigInt(content.length));
  svm.setAccount(bytes(address), new Account(rent, content, bytes(TOKEN_PROGRAM_ADDRESS), false, 0n));
}

async function signer() {
  const key = crypto.getRandomValues(new Uint8Array(32));
  const made = await createKeyPairSignerFromPrivateKeyBytes(key);
  return { signer: made, address: made.address, privateKey: Buffer.from(key).toString('hex') };
}

async function tokenAccount(owner) {
  const [address] = await findAssociatedTokenPda({ mint: USDC_DEVNET_ADDRESS, owner, tokenProgram: TOKEN_PROGRAM_ADDRESS });
  return address;
}

async function fund(owner, amount) {
  const account = { mint: USDC_DEVNET_ADDRESS, owner, amount, state: AccountState.Initialized, delegatedAmount: 0n };
  const none = { delegate: null, isNative: null, closeAuthority: null };
  put(await tokenAccount(owner), getTokenEncoder().encode({ ...account, ...none }));
}

// By signature, and by what they say: a validator runs no message twice.
const history = new Map();
const messages = new Map();
let slot = 1;

function read(wire) {
  const transaction = Buffer.from(wire, 'base64');
  const { messageBytes, signatures } = getTransactionDecoder().decode(transaction);
  const { staticAccounts, instructions } = getCompiledTransactionMessageDecoder().decode(messageBytes);
  const signature = Object.values(signatures)[0];
  const memos = instructions.filter((it) => staticAccounts[it.programAddressIndex].startsWith('Memo')).map((it) => it.data);
  return {
    transaction,
    message: createHash('sha256').update(Uint8Array.from(messageBytes)).digest('hex'),
    accounts: staticAccounts,
    signature: signature && base58.decode(signature),
    memo: memos.map((memo) => `[${memo.length}] ${Buffer.from(memo).toString()}`).join('; ') || null,
  };
}

/** A transaction's error in JSON-RPC's form, near enough: those who read it ask whether there is one. */
const failure = (result) => (result instanceof FailedTransactionMetadata ? String(result.err().toString?.() ?? 'failed') : null);

const context = () => ({ slot, apiVersion: '2.0.0' });
const found = (value) => ({ context: context(), value });

const methods = {
  getGenesisHash: () => GENESIS,
  getSlot: () => slot,
  getBlockTime: () => Math.floor(Date.now() / 1000),
  getLatestBlockhash: () => found({ blockhash: svm.latestBlockhash(), lastValidBlockHeight: slot + 150 }),
  isBlockhashValid: (blockhash) => found(blockhash === svm.latestBlockhash()),
  getAccountInfo(address) {
    const account = svm.getAccount(bytes(address));
    if (!account) return found(null);
    const data = Buffer.from(account.data());
    return found({
      data: [data.toString('base64'), 'base64'],
      executable: account.executable(),
      lamports: Number(account.lamports()),
      owner: base58.decode(account.owner()),
      rentEpoch: 0,
      space: data.length,
    });
  },
  getTokenAccountBalance(address) {
    const account = svm.getAccount(bytes(address));
    const amount = account ? getTokenDecoder().decode(account.data()).amount : 0n;
    return found({ amount: amount.toString(), decimals: 6, uiAmountString: (Number(amount) / 1e6).toString() });
  },
  simulateTransaction(wire, { sigVerify }) {
    const { transaction, message } = read(wire);
    if (messages.has(message)) return found({ err: 'AlreadyProcessed', logs: [] });
    svm.setSigverify(Boolean(sigVerify));
    const result = svm.simulateVersionedTransaction(transaction);
    svm.setSigverify(true);
    return found({ err: failure(result), logs: result.meta().logs() });
  },
  sendTransaction(wire) {
    const { transaction, message, accounts, signature, memo } = read(wire);
    if (messages.has(message)) return messages.get(message);
    const result = svm.sendVersionedTransaction(transaction);
    // What never ran is in no block.
    if (failure(result) && result.meta().computeUnitsConsumed() === 0n) return signature;
    slot += 1;
    const blockTime = Math.floor(Date.now() / 1000);
    messages.set(message, signature);
    history.set(signature, { wire, slot, err: failure(result), accounts, memo, blockTime });
    return signature;
  },
  getSignatureStatuses: (signatures) =>
    found(
      signatures.map((signature) => {
        const known = history.get(signature);
        return known ? { slot: known.slot, confirmations: null, err: known.err, confirmationStatus: 'finalized' } : null;
      }),
    ),
  getTransaction(signature) {
    const known = history.get(signature);
    if (!known) return null;
    const { wire, err, blockTime } = known;
    return { slot: known.slot, blockTime, transaction: [wire, 'base64'], version: 0, meta: { err, fee: 10_000 } };
  },
  getSignaturesForAddress: (address) =>
    [...history]
      .filter(([, known]) => known.accounts.includes(address))
      .map(([signature, { slot, err, memo, blockTime }]) => ({ signature, slot, err, memo, blockTime }))
      .reverse(),
  // For the tests alone: a payment by the official client, not sent, and what a wallet has.
  async payment(accepted) {
    const client = new ExactSvmScheme(payers[0].signer, { rpcUrl: endpoint });
    return { ...(await client.createPaymentPayload(2, accepted)), accepted };
  },
  async usdcOf(owner) {
    const { value } = methods.getTokenAccountBalance(await tokenAccount(owner));
    return value.amount;
  },
};

async function rpc({ id, method, params = [] }) {
  const run = methods[method];
  if (!run) return { jsonrpc: '2.0', id, error: { code: -32601, message: `no ${method} here` } };
  return { jsonrpc: '2.0', id, result: (await run(...params)) ?? null };
}

const payers = await Promise.all(Array.from({ length: PAYERS }, signer));
const [feePayer, payee] = [await signer(), await signer()];
put(
  USDC_DEVNET_ADDRESS,
  getMintEncoder().encode({
    mintAuthority: null,
    supply: FUNDS * BigInt(PAYERS),
    decimals: 6,
    isInitialized: true,
    freezeAuthority: null,
  }),
);
for (const { address } of payers) await fund(address, FUNDS);
await fund(payee.address, 0n);
svm.airdrop(bytes(feePayer.address), LAMPORTS);

const facilitator = new x402Facilitator();
// Where the JSON-RPC is, once it is served.
let endpoint;
serve(
  facilitator,
  (url) => {
    endpoint = `${url}/rpc`;
    registerExactSvmScheme(facilitator, {
      signer: toFacilitatorSvmSigner(feePayer.signer, { defaultRpcUrl: endpoint }),
      networks: SOLANA_DEVNET_CAIP2,
    });
    ready({
      rpc: endpoint,
      facilitator: url,
      usdc: USDC_DEVNET_ADDRESS,
      feePayer: feePayer.address,
      payTo: payee.address,
      payers: payers.map(({ address, privateKey }) => ({ address, privateKey })),
    });
  },
  { 'POST /rpc': rpc },
);
