// Permit2, and what stands in for x402's proxies: see contracts/Permit2Proxies.sol. Run by itself, it compiles those.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const source = readFileSync(new URL('contracts/Permit2Proxies.sol', import.meta.url), 'utf8');
const cache = new URL('node_modules/.cache/', import.meta.url);

/** Their true addresses, on all chains. */
const addresses = {
  permit2: '0x000000000022D473030F116dDEE9F6B43aC78BA3',
  exactProxy: '0x402085c248EeA27D92E8b30b2C58ed07f9E20001',
  uptoProxy: '0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002',
};

function compile() {
  const input = {
    language: 'Solidity',
    sources: { proxies: { content: source } },
    settings: {
      evmVersion: 'paris',
      optimizer: { enabled: true },
      outputSelection: { '*': { '*': ['evm.deployedBytecode.object'] } },
    },
  };
  const { errors = [], contracts } = JSON.parse(require('solc').compile(JSON.stringify(input)));
  const failed = errors.filter(({ severity }) => severity === 'error');
  if (failed.length > 0) throw new Error(failed.map((error) => error.formattedMessage).join('\n'));
  const code = (name) => `0x${contracts.proxies[name].evm.deployedBytecode.object}`;
  return { exact: code('ExactProxy'), upto: code('UptoProxy') };
}

/** The compiled proxies: compiling takes seconds, so it is done once for each state of the source. */
function proxies() {
  const file = new URL(`proxies-${createHash('sha256').update(source).digest('hex')}.json`, cache);
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const compiled = compile();
  mkdirSync(cache, { recursive: true });
  const draft = new URL(`${file.href}.${process.pid}`);
  writeFileSync(draft, JSON.stringify(compiled));
  renameSync(draft, file);
  return compiled;
}

/** The code of each, by address. */
export function permit2Code() {
  const { exact, upto } = proxies();
  const { bytecode } = require('./node_modules/@1inch/solidity-utils/dist/src/permit2.json');
  return { [addresses.permit2]: bytecode, [addresses.exactProxy]: exact, [addresses.uptoProxy]: upto };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) proxies();
