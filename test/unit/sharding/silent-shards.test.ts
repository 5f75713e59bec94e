import { expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { Directory } from '../../../src/sharding/directory.ts'
import { SimulatedStorage } from '../../simulation/template.ts'
import { migratedShard } from '../../support/fleet.ts'
import { linkedDatabase, ManualClock, silence } from '../../support/sharding-doubles.ts'

// The directory's own calls of shards. A call without an answer ends in time, and a late batch does no harm.

const settle = () => new Promise((resolve) => setImmediate(resolve))

/** Two shards. Calls to the first may be held back, without an answer to the caller. */
function stand() {
  const clock = new ManualClock()
  const held: (() => Promise<unknown>)[] = []
  const first = migratedShard()
  let isSilentFrom = Infinity
  let calls = 0
  const slow = linkedDatabase(first, (send) => {
    if (calls++ < isSilentFrom) return send()
    held.push(send)
    return silence()
  })
  const shards = new Map([
    ['SHARD_000', slow],
    ['SHARD_001', migratedShard()],
  ])
  const directory = new Directory({ storage: new SimulatedStorage(), clock, shards, newDeploymentId: () => 'ours' })
  return {
    clock,
    directory,
    first,
    held,
    silentFrom: (call: number) => {
      isSilentFrom = call
    },
  }
}

test.each([
  ['its mark', 0],
  ['its slots', 1],
])('a shard that falls silent before %s fails the first boot in time; the next boot completes it', async (_, call) => {
  const { clock, directory, silentFrom } = stand()
  silentFrom(call)
  const booted = directory.map().catch((error: { code: string; message: string }) => error)
  for (let passed = 0; passed <= limits.directoryShardMs; passed += 100) {
    await settle()
    clock.advance(100)
  }
  expect(await booted).toMatchObject({
    code: 'SHARD_UNAVAILABLE',
    message: `SHARD_000 does not answer: no answer within ${limits.directoryShardMs} ms`,
  })
  silentFrom(Infinity)
  expect((await directory.map()).epoch).toBe(1)
})

test('a first boot’s late batch does not bring back slots that have left', async () => {
  const { clock, directory, first, held, silentFrom } = stand()
  silentFrom(1)
  const booted = directory.map().catch(() => null)
  for (let passed = 0; passed <= limits.directoryShardMs; passed += 100) {
    await settle()
    clock.advance(100)
  }
  expect(await booted).toBeNull()
  silentFrom(Infinity)
  await directory.map()
  const slots = () => first.prepare("SELECT count(*) AS n FROM slots WHERE slot = '0000'").first('n')
  expect(await slots()).toBe(2)
  // A move takes the slot away and ends.
  await first.batch([
    first.prepare('UPDATE mover SET step = step + 1 WHERE id = 1'),
    first.prepare("DELETE FROM slots WHERE slot = '0000'"),
  ])
  for (const send of held) await send()
  expect(await slots()).toBe(0)
})

test('a first boot with more shards than an invocation has statements for takes several requests', async () => {
  const { bootShardsMax } = limits
  Object.assign(limits, { bootShardsMax: 2 })
  const shards = new Map(['SHARD_000', 'SHARD_001', 'SHARD_002'].map((binding) => [binding, migratedShard()] as const))
  const directory = new Directory({
    storage: new SimulatedStorage(),
    clock: new ManualClock(),
    shards,
    newDeploymentId: () => 'ours',
  })
  const slotsOf = (binding: string) =>
    shards.get(binding)!.prepare('SELECT count(*) AS n FROM slots').first<number>('n')
  try {
    await expect(directory.map()).rejects.toMatchObject({
      code: 'DIRECTORY_UNAVAILABLE',
      message: expect.stringContaining('2 of 3 shards'),
      retryAfterSeconds: 1,
    })
    expect(await slotsOf('SHARD_002')).toBe(0)
    expect((await directory.map()).shards).toHaveLength(3)
    expect(await slotsOf('SHARD_002')).toBeGreaterThan(0)
  } finally {
    Object.assign(limits, { bootShardsMax })
  }
})
