import { createIdSource } from '../../src/core/ids.ts'
import type { Log } from '../../src/core/log.ts'
import type { Duty, DutyTools } from '../../src/jobs/duties.ts'
import { manyShards } from './many-shards.ts'
import { fixedRandom, ManualClock, quietLog, routedShards, ScriptedSource } from './sharding-doubles.ts'

/**
 * One turn of a noun's duties over three shards, the first of which keeps no positions because it is full. `positions`:
 * how many each shard keeps then. `failed`: the logged errors, each with its shard.
 */
export async function besideFullShard(duties: (tools: DutyTools) => Duty[]) {
  const all = manyShards(3)
  const clock = new ManualClock()
  const source = new ScriptedSource(() => all.wire(clock.now()))
  const { shards } = routedShards({ databases: all.databases, clock, source })
  all.sqlite[0]?.exec("CREATE TRIGGER full BEFORE INSERT ON duty_positions BEGIN SELECT RAISE(ABORT, 'full'); END")
  const failed: unknown[] = []
  const log: Log = { ...quietLog, error: (event, fields) => failed.push([event, fields?.shard]) }
  for (const { run } of duties({ shards, clock, ids: createIdSource(clock, fixedRandom()), log }))
    await run({ turn: 0, size: 40, takesWrites: true })
  return { failed, positions: all.sqlite.map((one) => one.prepare('SELECT id FROM duty_positions').all().length) }
}
