/**
 * What `npm run bench:move` runs inside workerd. It runs in a Durable Object, like a mover, so that a round trip to a
 * shard goes through the binding. Directory, records, mover and databases are the real ones.
 */
import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '../../src/core/clock.ts'
import { limits } from '../../src/core/limits.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Mover } from '../../src/resharding/move.ts'
import { MovePlanning } from '../../src/resharding/move-planning.ts'
import { MoveRecords } from '../../src/resharding/move-records.ts'
import type { RemoteMoveRecords } from '../../src/resharding/record.ts'
import { Directory } from '../../src/sharding/directory.ts'

interface BenchEnv {
  BENCH: DurableObjectNamespace<Bench>
  SHARD_000: D1Database
  SHARD_001: D1Database
}

export type BenchKind = 'plain' | 'move' | 'verified move'

export interface BenchSetting {
  rows: number
  /** The number of rows per 100 that have a non-ASCII character. */
  nonAscii: number
}

export interface BenchResult {
  ms: number
  rounds: number
  /** Rows that both databases report as read and written, which the platform bills. */
  rowsRead: number
  rowsWritten: number
}

interface Chunk {
  rows: string
  /** The chunk's last key; null after the end. */
  end: string | null
}

type Bill = Pick<BenchResult, 'rowsRead' | 'rowsWritten'>

const FIRST = '0000'
const LAST = '00ff'
const AFTER = '0100'
const COLUMNS = ['id', 'author_id', 'text', 'created_at', 'edited_at', 'version']

export class Bench extends DurableObject<BenchEnv> {
  readonly #directory: Directory
  readonly #records: MoveRecords
  readonly #planning: MovePlanning
  readonly #shards: Map<string, D1Database>
  readonly #bill: Bill = { rowsRead: 0, rowsWritten: 0 }
  #moves = 0

  constructor(ctx: DurableObjectState, env: BenchEnv) {
    super(ctx, env)
    this.#shards = new Map([
      ['SHARD_000', metered(env.SHARD_000, this.#bill)],
      ['SHARD_001', metered(env.SHARD_001, this.#bill)],
    ])
    const storage = {
      rows: <T>(sql: string, ...values: (string | number | null)[]) =>
        ctx.storage.sql.exec(sql, ...values).toArray() as T[],
      transaction: <T>(body: () => T) => ctx.storage.transactionSync(body),
    }
    const common = { storage, clock: systemClock }
    this.#directory = new Directory({ ...common, shards: this.#shards, newDeploymentId: () => 'bench' })
    this.#records = new MoveRecords({
      ...common,
      directory: this.#directory,
      leaseMs: 30_000,
      graceMs: 300_000,
    })
    this.#planning = new MovePlanning({
      clock: systemClock,
      directory: this.#directory,
      records: this.#records,
      newId: () => `move-${++this.#moves}`,
      newestMigration: '',
      shardFacts: async () => ({ schema: 'the same', bytes: null }),
    })
  }

  async fill({ rows, nonAscii }: BenchSetting): Promise<void> {
    await this.#directory.map()
    const fill = `INSERT INTO posts (id, author_id, text, created_at, edited_at, version)
      WITH RECURSIVE numbers (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?2)
      SELECT printf('%04x01k%021d', n % 256, n), printf('%04x01j%021d', n % 256, n % 5000),
        CASE WHEN n / 256 % 100 < ?3 THEN '🌳 ' ELSE '' END || substr(hex(randomblob(140)), 1, 40 + n % 200),
        1700000000000 + n, NULL, 1
      FROM numbers`
    for (let from = 0; from < rows; from += 10_000)
      await this.env.SHARD_000.prepare(fill)
        .bind(from, Math.min(rows, from + 10_000), nonAscii)
        .run()
  }

  async measure(kind: BenchKind): Promise<BenchResult> {
    await this.#reset(kind)
    Object.assign(this.#bill, { rowsRead: 0, rowsWritten: 0 })
    const result = await (kind === 'plain' ? this.#copy() : this.#move(kind === 'verified move'))
    const bill = { ...this.#bill }
    await this.#expectWhole(kind)
    return { ...result, ...bill }
  }

  /** Checks that no row was left behind, which would make a copy look fast. Not part of the time. */
  async #expectWhole(kind: BenchKind): Promise<void> {
    const sizes =
      "SELECT count(*) || ' rows of ' || sum(octet_length(id) + octet_length(text)) || ' bytes' AS size FROM posts"
    const [source, target] = await Promise.all(
      [this.env.SHARD_000, this.env.SHARD_001].map((shard) => shard.prepare(sizes).first<string>('size')),
    )
    if (source !== target) throw new Error(`${kind}: the source has ${source} rows, the target ${target}`)
  }

  /** Only copies rows through `json_each`: the minimum cost of any copy through JavaScript. */
  async #copy(): Promise<Omit<BenchResult, keyof Bill>> {
    const [from, to] = [...this.#shards.values()] as [D1Database, D1Database]
    const rowsMax = await this.#rowsOfChunk()
    const read = `SELECT json_group_array(json_array(${COLUMNS.join(', ')})) AS rows, max(id) AS end
      FROM (SELECT * FROM posts WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ${rowsMax})`
    const write = `INSERT INTO posts (${COLUMNS.join(', ')})
      SELECT ${COLUMNS.map((_, place) => `json_extract(value, '$[${place}]')`).join(', ')} FROM json_each(?1)`
    const startedAt = systemClock.now()
    let rounds = 0
    for (let last = FIRST; ; rounds++) {
      const [chunk]: D1Result<Chunk>[] = await from.batch<Chunk>([from.prepare(read).bind(last, AFTER)])
      const { rows, end }: Chunk = chunk!.results[0]!
      if (end === null) return { ms: systemClock.now() - startedAt, rounds }
      await to.batch([to.prepare(write).bind(rows)])
      last = end
    }
  }

  /** The size of the mover's chunks after it has found its pace. */
  async #rowsOfChunk(): Promise<number> {
    const bytes = COLUMNS.map((column) => `coalesce(octet_length(${column}), 0)`).join(' + ')
    const average = await this.env.SHARD_000.prepare(`SELECT avg(${bytes}) AS bytes FROM posts`).first<number>('bytes')
    const fit = Math.floor(limits.moveChunkBytesMax / (average! + 8 * COLUMNS.length))
    return Math.min(limits.moveChunkRowsMax, fit)
  }

  async #move(verifies: boolean): Promise<Omit<BenchResult, keyof Bill>> {
    const [planned] = await this.#planning.plan({ keyspace: 'users', ranges: [[FIRST, LAST]], target: 'shard-001' })
    const local = this.#records
    const records: RemoteMoveRecords = {
      find: async (id) => local.find(id),
      change: async (...change) => local.change(...change),
      report: async (...progress) => local.report(...progress),
    }
    let rounds = 0
    const observer = {
      async before(shard: string) {
        if (shard === 'shard-000') rounds++
      },
    }
    const log = { info: () => undefined, warn: console.warn, error: console.error }
    const options = { records, shards: this.#shards, clock: systemClock, random: systemRandom, log, share: 1 }
    const mover = new Mover({ ...options, verifies, observer })
    const startedAt = systemClock.now()
    while (local.find(planned!.id)!.state !== 'settling') {
      await mover.turn(planned!.id)
      const { state, error } = local.find(planned!.id)!
      if (error) throw new Error(`${state}: ${error}`)
    }
    return { ms: systemClock.now() - startedAt, rounds }
  }

  /** Gives rows and slots back to the source. The target of a plain copy has them active too. */
  async #reset(kind: BenchKind): Promise<void> {
    const { SHARD_000, SHARD_001 } = this.env
    this.ctx.storage.sql.exec('DELETE FROM moves')
    const slots: [number, number] = [Number.parseInt(FIRST, 16), Number.parseInt(LAST, 16)]
    this.#directory.reassign('users', [slots], 'shard-000', null)
    const mine = "keyspace = 'users' AND slot >= ? AND slot < ?"
    await SHARD_000.batch([
      SHARD_000.prepare(`UPDATE slots SET state = 'active', move_id = NULL WHERE ${mine}`).bind(FIRST, AFTER),
      SHARD_000.prepare('DELETE FROM slot_changes'),
    ])
    await SHARD_001.batch([
      SHARD_001.prepare(
        `INSERT INTO slots (keyspace, slot, state, epoch)
         WITH RECURSIVE numbers (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2)
         SELECT 'users', printf('%04x', n), 'active', 1 FROM numbers WHERE true
         ON CONFLICT DO UPDATE SET state = excluded.state, move_id = NULL`,
      ).bind(...slots),
      SHARD_001.prepare('DELETE FROM posts'),
      SHARD_001.prepare('DELETE FROM slot_changes'),
      ...(kind === 'plain' ? [] : [SHARD_001.prepare(`DELETE FROM slots WHERE ${mine}`).bind(FIRST, AFTER)]),
    ])
  }
}

/** The database, with its batches added to a bill. */
function metered<T extends Pick<D1Database, 'batch'>>(database: T, bill: Bill): T {
  return new Proxy(database, {
    get(_, name) {
      if (name === 'batch')
        return async (statements: D1PreparedStatement[]) => {
          const results = await database.batch(statements)
          for (const { meta } of results) {
            bill.rowsRead += meta.rows_read
            bill.rowsWritten += meta.rows_written
          }
          return results
        }
      if (name === 'withSession')
        return (start: D1SessionConstraint) => metered((database as unknown as D1Database).withSession(start), bill)
      const value = Reflect.get(database, name) as unknown
      return typeof value === 'function' ? value.bind(database) : value
    },
  })
}

export default {
  async fetch(request, env) {
    const bench = env.BENCH.get(env.BENCH.idFromName('bench'))
    const { fill, kind } = await request.json<{ fill?: BenchSetting; kind?: BenchKind }>()
    if (fill) return Response.json(await bench.fill(fill).then(() => ({})))
    return Response.json(await bench.measure(kind!))
  },
} satisfies ExportedHandler<BenchEnv>
