import { afterEach, describe, expect, test, vi } from 'vitest'
import { systemClock, TimeBudget } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import { directoryClient } from '../../../src/objects/directory-client.ts'
import {
  type DirectoryOperations,
  directoryOperationNames,
  directoryOperations,
} from '../../../src/resharding/directory-operations.ts'

interface Called {
  name: string
  given: unknown[]
  /** How long the runtime may retry the call. */
  repeatsForMs: number
}

/** A client of a directory that answers every operation with `answer`. */
function clientOf(answer: (name: string) => Promise<unknown>, ms = 60_000) {
  const calls: Called[] = []
  let counted = 0
  const directory = {
    idFromName: (name: string) => name as unknown as DurableObjectId,
    get: (_id: unknown, options?: DurableObjectNamespaceGetDurableObjectOptions) =>
      Object.fromEntries(
        directoryOperationNames.map((name) => [
          name,
          (...given: unknown[]) => {
            calls.push({ name, given, repeatsForMs: options!.retry!.timeoutMs! })
            return answer(name)
          },
        ]),
      ),
  }
  const client = directoryClient({
    engine: { directory },
    time: new TimeBudget(systemClock, ms),
    count: () => {
      counted++
    },
  })
  /** For a caller that knows the operation only by its name. */
  const call = (name: keyof DirectoryOperations): Promise<unknown> =>
    (client[name] as (...given: unknown[]) => Promise<unknown>)('first', 'second')
  return { call, client, calls, counted: () => counted }
}

const map = { epoch: 1, issuedAt: 5, shards: [], runs: { users: [], claims: [] } }
const failsSo = (code: string) => expect.objectContaining({ code })

afterEach(() => vi.useRealTimers())

describe.each(directoryOperationNames.map((name) => [name, directoryOperations[name]] as const))('%s', (name, rule) => {
  const isRead = rule.kind === 'read'

  test('is called once, with its arguments, within its own limit', async () => {
    const { call, calls, counted } = clientOf(async () => ({ map, encoded: JSON.stringify(map), issuedAt: 5 }))
    await call(name)
    const asked = name === 'map' ? { name: 'encodedMap', given: [] } : { name, given: ['first', 'second'] }
    expect(calls).toEqual([{ ...asked, repeatsForMs: limits[rule.limit] }])
    expect(counted()).toBe(1)
  })

  test(`without an answer throws ${isRead ? 'unavailable' : 'unknown'}`, async () => {
    const { call } = clientOf(() => Promise.reject(new Error('Network connection lost.')))
    await expect(call(name)).rejects.toEqual(failsSo(isRead ? 'DIRECTORY_UNAVAILABLE' : 'OUTCOME_UNKNOWN'))
  })

  test('of an older object that lacks it is refused with the advice to wait, because nothing was changed', async () => {
    const { call } = clientOf(async () => {
      throw new TypeError(`The RPC receiver does not implement the method "${name}".`)
    })
    await expect(call(name)).rejects.toMatchObject({
      code: 'DIRECTORY_UNAVAILABLE',
      message: expect.stringContaining('older version'),
    })
  })

  test('waits no longer than its limit', async () => {
    vi.useFakeTimers()
    const { call } = clientOf(() => new Promise(() => undefined))
    const failure = expect(call(name)).rejects.toThrow(`no answer within ${limits[rule.limit]} ms`)
    await vi.advanceTimersByTimeAsync(limits[rule.limit])
    await failure
  })

  test('throws a refusal as its original error', async () => {
    const { call } = clientOf(async () => ({ code: 'SHARD_IN_MOVE', detail: 'Wait.', retryAfterSeconds: 7 }))
    await expect(call(name)).rejects.toMatchObject({ code: 'SHARD_IN_MOVE', message: 'Wait.', retryAfterSeconds: 7 })
  })

  test('starts no call after the end of its request', async () => {
    const { call, calls, counted } = clientOf(async () => ({}), 0)
    await expect(call(name)).rejects.toEqual(failsSo('DIRECTORY_UNAVAILABLE'))
    expect([calls.length, counted()]).toEqual([0, 0])
  })
})

test('a missing move is an answer, not a refusal', async () => {
  expect(await clientOf(async () => null).client.findMove('0000')).toBeNull()
  expect(await clientOf(async () => []).client.listMoves({ limit: 1, before: null })).toEqual([])
})

test('only operations that change nothing are reads, which the runtime may repeat', () => {
  const reads = directoryOperationNames.filter((name) => directoryOperations[name].kind === 'read')
  expect(reads).toEqual(['map', 'encodedMap', 'listMoves', 'findMove', 'openMoves', 'listKeyspaces'])
})
