/** What `npm run bench:cache` runs inside workerd: the raw bindings, and the cache on the same entry. */
import type { CachePolicy } from '../../src/cache/entry.ts'
import { IsolateCache } from '../../src/cache/isolate-cache.ts'
import { KvStore } from '../../src/cache/kv-store.ts'
import { ReadThroughCache } from '../../src/cache/read-through.ts'
import { systemClock } from '../../src/core/clock.ts'

interface BenchEnv {
  KV: KVNamespace
  SHARD_000: D1Database
}

interface Post {
  version: number
  text: string
}

export interface CacheQuestion {
  subject?: string
  calls?: number
}

const KEY = 'post.1:bench'
const SELECT = 'SELECT version, text FROM posts WHERE id = ?'
const post: Post = { version: 7, text: 'A post of usual length. '.repeat(20) }
const policy: CachePolicy<Post> = {
  ttlMs: 3_600_000,
  staleWhileRevalidateMs: 0,
  graceMs: 0,
  negativeTtlMs: 10_000,
  version: ({ version }) => version,
}

const none = () => undefined

/** A request's cache on this isolate. An entry that is not found in memory or KV throws. */
function cacheOf({ KV }: BenchEnv, isolate: IsolateCache, waitUntil: (work: Promise<unknown>) => void) {
  const log = { info: none, warn: console.warn, error: console.error }
  const kv = new KvStore(KV, log, none)
  return new ReadThroughCache({
    isolate,
    kv,
    clock: systemClock,
    log,
    ownSlots: new Set(),
    waitUntil,
  })
}

const options = {
  ...policy,
  owner: '0000',
  load: async () => {
    throw new Error('the entry is in no cache')
  },
}

const newIsolate = () => new IsolateCache(systemClock.now)

/** Each subject prepares itself, and returns what one call of it does. */
const subjects: Record<
  string,
  (env: BenchEnv, waitUntil: (work: Promise<unknown>) => void) => Promise<() => Promise<unknown>>
> = {
  'KV get, raw': async ({ KV }) => {
    return () => KV.get(KEY, 'json')
  },
  'KV hit': async (env, waitUntil) => {
    const isolate = newIsolate()
    const cache = cacheOf(env, isolate, waitUntil)
    return () => {
      isolate.memory.delete(KEY)
      return cache.read(KEY, options)
    }
  },
  'memory hit': async (env, waitUntil) => {
    const isolate = newIsolate()
    await cacheOf(env, isolate, waitUntil).read(KEY, options)
    return () => cacheOf(env, isolate, waitUntil).read(KEY, options)
  },
  'D1 read, raw': async ({ SHARD_000 }) => {
    return () => SHARD_000.prepare(SELECT).bind('bench').first()
  },
}

/** Without a subject it fills the stores and returns the subjects; otherwise it returns milliseconds per call. */
export default {
  async fetch(request, env, context) {
    const { subject, calls = 1 } = await request.json<CacheQuestion>()
    if (subject === undefined) return Response.json(await fill(env))
    const call = await subjects[subject]!(env, (work) => context.waitUntil(work))
    await call()
    const startedAt = await now(env)
    for (let made = 0; made < calls; made++) await call()
    return Response.json(((await now(env)) - startedAt) / calls)
  },
} satisfies ExportedHandler<BenchEnv>

/** The clock stands still between I/O. A read of KV moves it. */
async function now({ KV }: BenchEnv): Promise<number> {
  await KV.get('clock')
  return performance.now()
}

async function fill({ KV, SHARD_000 }: BenchEnv): Promise<string[]> {
  await KV.put(KEY, JSON.stringify({ value: post, version: post.version, at: systemClock.now() }))
  await SHARD_000.batch([
    SHARD_000.prepare('CREATE TABLE posts (id TEXT PRIMARY KEY, version INTEGER, text TEXT)'),
    SHARD_000.prepare('INSERT INTO posts VALUES (?, ?, ?)').bind('bench', post.version, post.text),
  ])
  return Object.keys(subjects)
}
