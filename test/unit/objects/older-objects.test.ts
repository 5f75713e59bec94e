import { expect, test } from 'vitest'
import { readMap } from '../../../src/objects/directory-calls.ts'
import { wakeOpenMoves } from '../../../src/objects/movers.ts'
import type { MapWire } from '../../../src/sharding/shard-map.ts'
import { quietLog } from '../../support/sharding-doubles.ts'

/** The runtime's error for a method that the object's version does not have. */
const lacks = (method: string) => async () => {
  throw new TypeError(`The RPC receiver does not implement the method "${method}".`)
}

const idFromName = (name: string) => name as unknown as DurableObjectId

/** A directory and its movers. `woken` has the moves whose movers were called. */
function engineWith(directory: object) {
  const woken: string[] = []
  const wake = (id: DurableObjectId) => async () => void woken.push(String(id))
  const engine = {
    directory: { idFromName, get: () => directory },
    mover: { idFromName, get: (id: DurableObjectId): object => ({ wake: wake(id) }) },
  }
  return { engine, woken }
}

test('the cron wakes the moves that the directory returns, and asks for no more than it may wake', async () => {
  const { engine, woken } = engineWith({ movesToWake: async (limit: number) => [`a of ${limit}`, 'b'] })
  expect(await wakeOpenMoves(engine, quietLog, 7)).toBe(2)
  expect(woken).toEqual(['a of 400', 'b'])
})

test('with a directory of the previous version, it wakes all open moves in turn, as many per minute as it may', async () => {
  const open = Array.from({ length: 1_000 }, (_, index) => ({ id: `move-${index}` }))
  const { engine, woken } = engineWith({ movesToWake: lacks('movesToWake'), openMoves: async () => open })
  for (const turn of [0, 1, 2]) expect(await wakeOpenMoves(engine, quietLog, turn)).toBeLessThanOrEqual(400)
  expect(new Set(woken).size).toBe(1_000)
})

test('a directory that does not answer is not mistaken for an older one', async () => {
  const fails = async () => {
    throw new Error('Network connection lost.')
  }
  const { engine } = engineWith({ movesToWake: fails, openMoves: async () => [] })
  await expect(wakeOpenMoves(engine, quietLog, 0)).rejects.toThrow('Network connection lost.')
})

test('a mover that can’t be woken does not stop the others from being woken', async () => {
  const { engine } = engineWith({ movesToWake: async () => ['a', 'b', 'c'] })
  const { get } = engine.mover
  engine.mover.get = (id) => (String(id) === 'b' ? { wake: lacks('wake') } : get(id))
  expect(await wakeOpenMoves(engine, quietLog, 0)).toBe(2)
})

test('the map of a directory of the previous version is read in that version’s form', async () => {
  const map: MapWire = { epoch: 3, issuedAt: 5, shards: [], runs: { users: [], claims: [] } }
  expect(await readMap({ encodedMap: lacks('encodedMap'), map: async () => ({ map }) })).toEqual({ map })
  const { issuedAt, ...rest } = map
  const encodedMap = async () => ({ encoded: JSON.stringify(rest), issuedAt })
  expect(await readMap({ encodedMap, map: lacks('map') })).toEqual({ map })
  const refusal = { code: 'MIGRATIONS_PENDING' as const, detail: 'not migrated' }
  expect(await readMap({ encodedMap: async () => refusal, map: lacks('map') })).toEqual(refusal)
})
