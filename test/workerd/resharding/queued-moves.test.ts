import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, expect, test } from 'vitest'
import { directoryStub, orOlder } from '../../../src/objects/directory-calls.ts'
import type { DirectoryOperations } from '../../../src/resharding/directory-operations.ts'
import type { MoveRecord } from '../../../src/resharding/record.ts'
import type { MoverObject } from '../../../workers/coordinator.ts'
import type { Env } from '../../../workers/env.ts'
import { wakeMoversBy } from '../../support/waking.ts'

const bindings = env as unknown as Env
const { MOVER } = bindings
const directory: DirectoryOperations = directoryStub({ directory: bindings.DIRECTORY }, 10_000)
const moverOf = (id: string) => MOVER.get(MOVER.idFromName(id))

/** A mover object's storage: the id of its move, and its alarm. */
const keptBy = (id: string) =>
  runInDurableObject(moverOf(id), async (_: MoverObject, state) => ({
    move: await state.storage.get<string>('move'),
    alarm: await state.storage.getAlarm(),
  }))

async function until<T>(ask: () => Promise<T>, isSo: (found: T) => boolean): Promise<T> {
  for (const deadline = Date.now() + 10_000; ; await new Promise((resolve) => setTimeout(resolve, 10))) {
    const found = await ask()
    if (isSo(found)) return found
    if (Date.now() > deadline) throw new Error(`still ${JSON.stringify(found)}`)
  }
}

const find = async (id: string): Promise<MoveRecord> => (await directory.findMove(id))!

afterEach(() => wakeMoversBy(null))

test('a queued move has no alarm, and starts when the move before it gives up the lanes, without polling or the cron', async () => {
  await directory.map()
  await wakeMoversBy(async () => undefined)
  const reply = await directory.drainShard('shard-001')
  if (!('moves' in reply)) throw new Error(reply.detail)
  // Users and claims, from one shard to the other.
  const [first, second] = reply.moves as [MoveRecord, MoveRecord]
  expect(reply.moves).toHaveLength(2)
  // D1 reports a database's size in the answer that returns its schema.
  expect(first.bytesEstimated).toBeGreaterThan(0)
  const begun = await directory.changeMove(first, { to: 'preparing' }, null)
  expect(begun).toMatchObject({ outcome: 'recorded' })
  await moverOf(second.id).wake(second.id)
  const asleep = await until(
    () => keptBy(second.id),
    ({ move, alarm }) => move === second.id && alarm === null,
  )
  expect(asleep).toEqual({ move: second.id, alarm: null })
  expect((await find(second.id)).state).toBe('planned')
  await wakeMoversBy(null)
  await directory.steerMove(first.id, 'abort')
  expect((await find(second.id)).state).toBe('planned')
  expect(await directory.changeMove(await find(first.id), { to: 'ended' }, null)).toMatchObject({ outcome: 'recorded' })
  const started = await until(
    () => find(second.id),
    ({ state }) => state !== 'planned',
  )
  expect(started).toMatchObject({ source: { id: 'shard-001' }, target: { id: 'shard-000' }, ending: null, error: null })
  // Half of all slots. No test waits for these.
  await directory.steerMove(second.id, 'abort')
})

test('an object of the previous version is called as that version expects, because the runtime reports the missing method', async () => {
  const stub = directory as unknown as { notYetThere(): Promise<number> }
  expect(
    await orOlder(
      () => stub.notYetThere(),
      async () => 'as before',
    ),
  ).toBe('as before')
  const failing = orOlder(
    async () => {
      throw new Error('Network connection lost.')
    },
    async () => 'as before',
  )
  await expect(failing).rejects.toThrow('Network connection lost.')
})
