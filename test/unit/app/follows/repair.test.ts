import { expect, test } from 'vitest'
import { followDuties } from '../../../../src/app/follows/repair.ts'
import { createIdSource } from '../../../../src/core/ids.ts'
import type { Log } from '../../../../src/core/log.ts'
import { manyShards } from '../../../support/many-shards.ts'
import { fixedRandom, ManualClock, quietLog, routedShards, ScriptedSource } from '../../../support/sharding-doubles.ts'

test('the repair checks the other shards while one takes no writes', async () => {
  const all = manyShards(3)
  const clock = new ManualClock()
  const source = new ScriptedSource(() => all.wire(clock.now()))
  const { shards } = routedShards({ databases: all.databases, clock, source })
  all.sqlite[0]?.exec("CREATE TRIGGER full BEFORE INSERT ON duty_positions BEGIN SELECT RAISE(ABORT, 'full'); END")
  const failed: unknown[] = []
  const log: Log = { ...quietLog, error: (event, fields) => failed.push([event, fields?.shard]) }
  for (const { run } of followDuties({ shards, clock, ids: createIdSource(clock, fixedRandom()), log }))
    await run({ turn: 0, size: 40, takesWrites: true })
  const positions = all.sqlite.map((one) => one.prepare('SELECT id FROM duty_positions').all().length)
  expect(positions).toEqual([0, 1, 1])
  expect(failed).toEqual([['follows.not-checked', 'shard-000']])
})
