// A development chain that is Base Sepolia to its users: same chain id, and Circle's USDC at its true address, so that
// clients pay with their default policies.
// Prints {rpc, chainId, usdc, plainToken, wallet, multicall3, payTo, payers: [{address, privateKey}]}.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { createTestClient, http, publicActions, walletActions } from 'viem';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { baseSepolia } from 'viem/chains';

import { addresses, install, issue } from './contracts.mjs';
import { ready } from './stdio.mjs';

const PAYERS = 4;
// 1000 USDC each; the token has 6 decimals.
const FUNDS = 1_000_000_000n;

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Starts anvil on a free port: its URL, and how to end it. */
async function startAnvil() {
  const program = process.env.ANVIL ?? fileURLToPath(new URL('node_modules/.bin/anvil', import.meta.url));
  const anvil = spawn(program, ['--port', '0', '--chain-id', String(baseSepolia.id), '--max-persisted-states', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const died = (code) => fail(`anvil ended with ${code}`);
  process.on('exit', () => anvil.kill('SIGKILL'));
  anvil.on('error', (error) => fail(`anvil does not start: ${error.message}`));
  anvil.on('exit', died);
  const stop = async () => {
    anvil.off('exit', died);
    const ended = once(anvil, 'exit');
    anvil.kill('SIGKILL');
    await ended;
  };
  // Read to the end: a full pipe would stop it.
  const lines = createInterface({ input: anvil.stdout });
  return new Promise((resolve) => {
    lines.on('line', (line) => {
      const address = /^Listening on (\S+)$/.exec(line)?.[1];
      if (address) resolve({ rpc: `http://${address}`, stop });
    });
  });
}

const { rpc, stop } = await startAnvil();
const chain = createTestClient({ mode: 'anvil', chain: baseSepolia, transport: http(rpc) })
  .extend(publicActions)
  .extend(walletActions);

const payers = Array.from({ length: PAYERS }, () => {
  const privateKey = generatePrivateKey();
  return { address: privateKeyToAddress(privateKey), privateKey };
});

await install(chain);
await issue(chain, payers.map((payer) => payer.address), FUNDS);

const payTo = privateKeyToAddress(generatePrivateKey());
ready({ rpc, chainId: baseSepolia.id, ...addresses, payTo, payers }, stop);
