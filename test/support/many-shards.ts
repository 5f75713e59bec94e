import type { DatabaseSync } from 'node:sqlite'
import { migratedDatabase } from '../../scripts/shard-schema.ts'
import { evenRuns, type MapWire, SLOT_COUNT } from '../../src/sharding/shard-map.ts'
import { keyspaces } from '../../src/sharding/sharded-table.ts'
import { SimulatedShard } from '../simulation/database.ts'

export interface ManyShards {
  /** By binding name, as an isolate sees them. */
  databases: Record<string, D1Database>
  /** For inspection, in the map's order. */
  sqlite: DatabaseSync[]
  wire(issuedAt: number): MapWire
  /** The number of statements that the databases have run. */
  statements(): number
  /** Sets a function that is called before each call runs. If it throws, the call fails and changes nothing. */
  onCall(observe: (sql: string[]) => void): void
}

/** `count` migrated databases on node:sqlite, each with an even share of the slots of both keyspaces. */
export function manyShards(count: number): ManyShards {
  const runs = evenRuns(count)
  let statements = 0
  let observe: (sql: string[]) => void = () => undefined
  const numbered = (index: number) => String(index).padStart(3, '0')
  const sqlite = runs.map(([first], index) => {
    const database = migratedDatabase()
    const after = runs[index + 1]?.[0] ?? SLOT_COUNT
    for (const keyspace of keyspaces)
      database
        .prepare(
          `INSERT INTO slots (keyspace, slot, state, epoch, move_id)
           WITH RECURSIVE numbers (n) AS (SELECT ? UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?)
           SELECT ?, format('%04x', n), 'active', 1, NULL FROM numbers`,
        )
        .run(first!, after, keyspace)
    return database
  })
  const databases = sqlite.map((database, index) => {
    const connection = new SimulatedShard(database).connection(async (call, execute) => {
      observe(call.statements.map(({ sql }) => sql))
      statements += call.statements.length
      return execute()
    })
    return [`SHARD_${numbered(index)}`, connection] as const
  })
  return {
    databases: Object.fromEntries(databases),
    sqlite,
    wire: (issuedAt) => ({
      epoch: 1,
      issuedAt,
      shards: sqlite.map((_, index) => ({
        id: `shard-${numbered(index)}`,
        binding: `SHARD_${numbered(index)}`,
        state: 'serving',
      })),
      runs: Object.fromEntries(keyspaces.map((keyspace) => [keyspace, runs])),
    }),
    statements: () => statements,
    onCall(next) {
      observe = next
    },
  }
}
