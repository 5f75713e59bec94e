/**
 * What `npm run bench:routed` runs inside workerd: the same questions to the plain binding and to routed databases. A
 * checkout's `src/sharding` is an argument, so that one run can measure two of them.
 */
import { eq } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/d1'
import { systemClock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { MapHolder } from '../../src/sharding/map-holder.ts'
import { Replicas } from '../../src/sharding/replicas.ts'
import type { MapWire } from '../../src/sharding/shard-map.ts'
import type { Shards } from '../../src/sharding/shards.ts'
import { rowsTable as posts } from '../support/rows-table.ts'

/** The parts of a checkout that route. */
export interface Checkout {
  Shards: typeof Shards
  MapHolder: typeof MapHolder
}

const SLOT = '00aa'
const post = (n: number) => `${SLOT}01jd${String(n).padStart(22, '0')}`
const ROWS = 100
const BATCH = 10

const READ = 'SELECT id, author_id, text, version FROM posts WHERE id = ?'
const WRITE = 'UPDATE posts SET version = version + 1 WHERE id = ?'
const RETURNING = `${WRITE} RETURNING id, text, version`

interface Kind {
  isExact?: boolean
  /** With `REPLICAS=on`. */
  isReplicated?: boolean
  send(database: D1Database, id: string): Promise<unknown>
}

/** One call each. `isExact` and `isReplicated` apply to routed databases; the plain binding always asks the primary. */
const kinds: Record<string, Kind> = {
  read: { send: (database, id) => database.prepare(READ).bind(id).all() },
  'read, raw()': { send: (database, id) => database.prepare(READ).bind(id).raw() },
  'exact read': { isExact: true, send: (database, id) => database.prepare(READ).bind(id).all() },
  'exact read, raw()': { isExact: true, send: (database, id) => database.prepare(READ).bind(id).raw() },
  write: { send: (database, id) => database.prepare(WRITE).bind(id).run() },
  'write, raw()': { send: (database, id) => database.prepare(RETURNING).bind(id).raw() },
  'read, REPLICAS=on': { isReplicated: true, send: (database, id) => database.prepare(READ).bind(id).all() },
  'write, REPLICAS=on': { isReplicated: true, send: (database, id) => database.prepare(WRITE).bind(id).run() },
  'batch of 10 reads': { send: (database, id) => database.batch(Array(BATCH).fill(database.prepare(READ).bind(id))) },
  'batch of 10 writes': { send: (database, id) => database.batch(Array(BATCH).fill(database.prepare(WRITE).bind(id))) },
  'Drizzle select': { send: (database, id) => drizzle(database).select().from(posts).where(eq(posts.id, id)) },
  'Drizzle update, returning': {
    send: (database, id) => drizzle(database).update(posts).set({ text: 't' }).where(eq(posts.id, id)).returning(),
  },
}

export interface RoutedQuestion {
  kind?: string
  subject?: string
  calls?: number
}

interface BenchEnv {
  SHARD_000: D1Database
}

/** The Worker. Without a kind it fills the table and returns the kinds; otherwise it returns milliseconds per call. */
export function routedBench(checkouts: Record<string, Checkout>): ExportedHandler<BenchEnv> {
  return {
    async fetch(request, env) {
      const { kind, subject, calls = 1 } = await request.json<RoutedQuestion>()
      if (kind === undefined) return Response.json(await fill(env.SHARD_000).then(() => Object.keys(kinds)))
      const asked = kinds[kind]!
      const { send } = asked
      const checkout = checkouts[subject!]
      const database = checkout ? routed(checkout, env.SHARD_000, asked) : env.SHARD_000
      await send(database, post(0)) // loads the map, which is not part of the time
      const startedAt = performance.now()
      for (let call = 0; call < calls; call++) await send(database, post(call % ROWS))
      return Response.json((performance.now() - startedAt) / calls)
    },
  }
}

async function fill(database: D1Database): Promise<void> {
  const slot = "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', ?, 'active', 1)"
  const insert =
    "INSERT INTO posts (id, author_id, text, created_at, version) VALUES (?, ?, 'a text of some length', 1, 1)"
  await database.batch([
    database.prepare(slot).bind(SLOT),
    ...Array.from({ length: ROWS }, (_, n) => database.prepare(insert).bind(post(n), post(0))),
  ])
}

function routed({ Shards, MapHolder }: Checkout, database: D1Database, { isExact, isReplicated }: Kind): D1Database {
  const map: MapWire = {
    epoch: 1,
    issuedAt: systemClock.now(),
    shards: [{ id: 'shard-000', binding: 'SHARD_000', state: 'serving' }],
    runs: { users: [[0, 0]], claims: [[0, 0]] },
  }
  const none = () => undefined
  const shards = new Shards({
    holder: new MapHolder(systemClock, 30_000),
    request: {
      source: { map: async () => map },
      copies: { get: async () => null, put: async () => undefined },
      log: { info: none, warn: console.warn, error: console.error },
      waitUntil: none,
    },
    shards: new Map([['SHARD_000', database]]),
    clock: systemClock,
    random: systemRandom,
    atLeastEpoch: 0,
    observer: {},
    ...(isReplicated ? { replicas: new Replicas({ slots: [], bookmarks: new Map(), isPartial: false }) } : {}),
  })
  return shards.of(SLOT, { read: isExact ? 'exact' : 'lease' })
}
