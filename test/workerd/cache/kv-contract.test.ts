import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { UnkindKv } from '../../support/kv-double.ts'

// The double of KV answers, and refuses, as the runtime does.

const real = (env as unknown as { KV: KVNamespace }).KV
const double = new UnkindKv(systemClock, { visibleAfterMs: 0 }).binding

/** The answer, or the error's message. */
async function outcome(ask: (kv: KVNamespace) => Promise<unknown>, kv: KVNamespace): Promise<unknown> {
  try {
    return await ask(kv)
  } catch (error) {
    return String(error)
  }
}

const keys = (count: number) => Array.from({ length: count }, (_, index) => `none ${index}`)
const cached = (cacheTtl: number) => ({ cacheTtl })

test.each<[string, (kv: KVNamespace) => Promise<unknown>]>([
  ['text', (kv) => kv.get('a json')],
  ['JSON', (kv) => kv.get('a json', 'json')],
  ['JSON by an option', (kv) => kv.get('a json', { type: 'json' })],
  ['nothing', (kv) => kv.get('none')],
  ['text that is not JSON', (kv) => kv.get('a text', 'json')],
  ['an empty text', (kv) => kv.get('an empty text')],
  ['metadata', (kv) => kv.getWithMetadata('a json', 'json')],
  ['no metadata', (kv) => kv.getWithMetadata('a text')],
  ['metadata of nothing', (kv) => kv.getWithMetadata('none')],
  ['several keys', (kv) => kv.get(['a json', 'none', 'a text'])],
  ['several keys as JSON', (kv) => kv.get(['a json', 'none'], 'json')],
  ['several keys, one of which is not JSON', (kv) => kv.get(['a json', 'a text'], 'json')],
  ['several keys with metadata', (kv) => kv.getWithMetadata(['a json', 'a text', 'none'], 'text')],
  ['100 keys', (kv) => kv.get(keys(100))],
  ['101 keys', (kv) => kv.get(keys(101))],
  ['no keys', (kv) => kv.get([])],
  ['a key of 512 bytes', (kv) => kv.get(`${'→'.repeat(170)}aa`)],
  ['a key of 513 bytes', (kv) => kv.get('→'.repeat(171))],
  ['a key of 513 bytes, among several', (kv) => kv.get(['a', '→'.repeat(171)])],
  ['a write to a key of 513 bytes', (kv) => kv.put('→'.repeat(171), 'x')],
  ['an empty key', (kv) => kv.get('')],
  ['an empty key, written', (kv) => kv.put('', 'x')],
  ['a dot as key', (kv) => kv.get('.')],
  ['a cache of 30 s', (kv) => kv.get('a json', cached(30))],
  ['a cache of 29 s', (kv) => kv.get('a json', cached(29))],
  ['a cache of 29 s for several keys', (kv) => kv.get(['a json'], cached(29))],
  ['a time to live of 60 s', (kv) => kv.put('b', 'x', { expirationTtl: 60 })],
  ['a time to live of 59 s', (kv) => kv.put('c', 'x', { expirationTtl: 59 })],
  ['a time to live of 0 s', (kv) => kv.put('c', 'x', { expirationTtl: 0 })],
  ['a value of 25 MiB and one byte', (kv) => kv.put('c', 'x'.repeat(26_214_401))],
  ['metadata of 1,025 bytes', (kv) => kv.put('c', 'x', { metadata: 'x'.repeat(1_023) })],
])('%s', async (_, ask) => {
  for (const kv of [real, double]) {
    // A key takes one write per second.
    await kv.put('a json', '{"n":1}', { metadata: { from: 'here' } }).catch(() => undefined)
    await kv.put('a text', 'not JSON').catch(() => undefined)
    await kv.put('an empty text', '').catch(() => undefined)
  }
  expect(await outcome(ask, double)).toEqual(await outcome(ask, real))
})
