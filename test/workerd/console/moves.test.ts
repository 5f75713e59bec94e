import { env } from 'cloudflare:workers'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { slotOf } from '../../../src/core/ids.ts'
import type { MoveRecord, MoveState } from '../../../src/resharding/record.ts'
import type { Env } from '../../../workers/env.ts'
import { databases } from '../../support/sharding-slots.ts'
import { wakeMoversBy } from '../../support/waking.ts'
import { somebody, type WorkerAnswer, workerIsolate } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env
const token = bindings.OPERATOR_TOKEN!
const directory = () => bindings.DIRECTORY.get(bindings.DIRECTORY.idFromName('directory'))
const LEASE_MS = 30_000
const GRACE_MS = 300_000
const WAIT_MS = 20_000
const KEYED_TABLE = 'idempotency_keys'

interface Move {
  id: string
  source: string
  target: string
  state: MoveState
  ending?: string
  settlesAt: string | null
  createdAt: string
}

const isolate = workerIsolate()
const lost = async () => {
  throw new Error('Network connection lost.')
}
const deaf = workerIsolate({
  MOVER: { idFromName: (name: string) => name, get: () => ({ wake: lost }) } as unknown as Env['MOVER'],
})
/** An isolate, and a directory, whose calls to movers are all lost. */
const unheard: Pick<typeof isolate, 'request'> = {
  async request(...request) {
    await wakeMoversBy(async () => undefined)
    try {
      return await deaf.request(...request)
    } finally {
      await wakeMoversBy(null)
    }
  },
}

const ask = (method: string, path: string, json?: unknown, through: typeof unheard = isolate): Promise<WorkerAnswer> =>
  through.request(method, `/operator/v1/moves${path}`, { token, ...(json === undefined ? {} : { json }) })

async function plan(wish: Record<string, unknown>, through: typeof unheard = isolate): Promise<Move[]> {
  const answer = await ask('POST', '', wish, through)
  expect(answer.status, answer.text).toBe(202)
  return answer.json<{ moves: Move[] }>().moves
}

async function steer(id: string, verb: string): Promise<Move> {
  const answer = await ask('POST', `/${id}/${verb}`)
  expect(answer.status, answer.text).toBe(202)
  return answer.json<{ move: Move }>().move
}

const find = async (id: string) => (await ask('GET', `/${id}`)).json<{ move: Move }>().move

async function reaches(id: string, state: MoveState): Promise<Move> {
  for (const deadline = Date.now() + WAIT_MS; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const move = await find(id)
    if (move.state === state) return move
    if (Date.now() > deadline) throw new Error(`still ${JSON.stringify(move)}`)
  }
}

async function refused(answer: Promise<WorkerAnswer>, status: number, code: string): Promise<WorkerAnswer> {
  const { text } = await answer
  expect([(await answer).status, JSON.parse(text).code], text).toEqual([status, code])
  return answer
}

async function epoch(): Promise<number> {
  const reply = await directory().map()
  if (!('map' in reply)) throw new Error(reply.detail)
  return reply.map.epoch
}

/** The shards in which a slot has rows of a table, and the slot's state in each shard. */
async function whereIs(keyspace: 'users' | 'claims', table: string, slot: string) {
  const key = keyspace === 'users' ? 'id' : 'key'
  const seen = await Promise.all(
    Object.values(databases).map(async (shard) => {
      const rows = await shard
        .prepare(`SELECT count(*) AS n FROM ${table} WHERE substr(${key}, 1, 4) = ?`)
        .bind(slot)
        .first<number>('n')
      const state = await shard
        .prepare('SELECT state FROM slots WHERE keyspace = ? AND slot = ?')
        .bind(keyspace, slot)
        .first<string>('state')
      return { rows: rows!, state }
    }),
  )
  return { 'shard-000': seen[0]!, 'shard-001': seen[1]! } as Record<string, { rows: number; state: string | null }>
}

interface Person {
  id: string
  handle: string
  password: string
  token: string
}

/** The slots that the other tests move by name have no users. */
const isNamed = (slot: string) => slot < '0800' || (slot > '7ff0' && slot < '8010')

async function signUp(): Promise<Person> {
  const { email, handle, password } = somebody()
  const answer = await isolate.request('POST', '/api/v1/accounts', { json: { email, handle, password } })
  expect(answer.status, answer.text).toBe(201)
  const { user, token } = answer.json<{ user: { id: string }; token: string }>()
  return isNamed(slotOf(user.id)) ? signUp() : { id: user.id, handle, password, token }
}

const ownerOf = (slot: string) => (slot < '8000' ? 'shard-000' : 'shard-001')
const other = (shard: string) => (shard === 'shard-000' ? 'shard-001' : 'shard-000')

beforeAll(async () => {
  expect(await epoch()).toBe(1)
})

// A planned move keeps other moves from its shards.
beforeEach(async () => {
  for (const { id, state } of (await ask('GET', '')).json<{ items: Move[] }>().items)
    if (state === 'planned') await steer(id, 'abort')
})

describe('a move of one slot', () => {
  let person: Person
  let slot: string
  let source: string
  let target: string
  beforeEach(async () => {
    person = await signUp()
    slot = slotOf(person.id)
    source = ownerOf(slot)
    target = other(source)
  })

  /** A write with an Idempotency-Key, whose stored answer is a row in the user's slot. */
  async function writeKeyedRow(): Promise<void> {
    const sent = { token: person.token, key: 'one' }
    const answer = await isolate.request('POST', '/api/v1/email-verifications', sent)
    expect(answer.status, answer.text).toBe(202)
  }

  async function moved(): Promise<Move> {
    const [move] = await plan({ slots: slot, target })
    return reaches(move!.id, 'settling')
  }

  test('takes over a user’s rows in the next epoch, and the source keeps its own until the move is settled', async () => {
    const before = await epoch()
    const [planned] = await plan({ slots: slot, target })
    expect(planned).toMatchObject({
      keyspace: 'users',
      slots: `${slot}-${slot}`,
      source,
      target,
      state: 'planned',
      progress: 0,
      rowsCopied: 0,
      cutoverMs: null,
      reversed: false,
      settlesAt: null,
    })
    const move = await reaches(planned!.id, 'settling')
    expect(move).toMatchObject({ source, target, progress: 0.95, cutoverMs: expect.any(Number) })
    expect(move).not.toHaveProperty('ending')
    expect(move).not.toHaveProperty('error')
    const settlesIn = Date.parse(move.settlesAt!) - Date.now()
    expect(settlesIn).toBeGreaterThan(GRACE_MS - WAIT_MS)
    expect(settlesIn).toBeLessThanOrEqual(GRACE_MS)

    expect(await epoch()).toBe(before + 1)
    const rows = { rows: 1 }
    expect(await whereIs('users', 'profiles', slot)).toMatchObject({
      [source]: { ...rows, state: 'moved' },
      [target]: { ...rows, state: 'moving' },
    })
    await writeKeyedRow()
    expect(await whereIs('users', KEYED_TABLE, slot)).toMatchObject({ [source]: { rows: 0 }, [target]: { rows: 1 } })
  })

  test('takes over a claim: its user can sign in by it', async () => {
    const claims = await Promise.all(
      Object.values(databases).map((shard) =>
        shard.prepare('SELECT key FROM claims WHERE owner_id = ?').bind(person.id).all<{ key: string }>(),
      ),
    )
    const keys = claims.flatMap(({ results }) => results.map(({ key }) => key))
    expect(keys).toHaveLength(2)
    for (const claimSlot of keys.map(slotOf)) {
      const before = await epoch()
      const from = ownerOf(claimSlot)
      const [planned] = await plan({ slots: claimSlot, target: other(from), keyspace: 'claims' })
      expect(await reaches(planned!.id, 'settling')).toMatchObject({ keyspace: 'claims', source: from })
      expect(await epoch()).toBe(before + 1)
      expect(await whereIs('claims', 'claims', claimSlot)).toMatchObject({
        [from]: { rows: 1, state: 'moved' },
        [other(from)]: { rows: 1, state: 'moving' },
      })
    }
    // Its user was not moved.
    expect(await whereIs('users', 'profiles', slot)).toMatchObject({ [source]: { rows: 1, state: 'active' } })
    const json = { login: person.handle, password: person.password }
    expect((await isolate.request('POST', '/api/v1/sessions', { json })).status).toBe(201)
    const again = { email: 'another@example.com', handle: person.handle, password: person.password }
    await refused(isolate.request('POST', '/api/v1/accounts', { json: again }), 409, 'HANDLE_TAKEN')
  })

  test('omits slots that the target has already', async () => {
    expect(await plan({ slots: slot, target: source })).toEqual([])
    const [planned] = await plan({ slots: '7ffe-8001', target: 'shard-001' }, unheard)
    expect(planned).toMatchObject({ slots: '7ffe-7fff', source: 'shard-000' })
  })

  test('is refused while its slots are in another move: SLOTS_IN_MOVE, with Retry-After', async () => {
    await moved()
    const answer = await refused(ask('POST', '', { slots: slot, target: source }), 409, 'SLOTS_IN_MOVE')
    expect(answer.headers.get('retry-after')).toBe('5')
  })

  test('is reversed while it settles, with the rows that the target has received since', async () => {
    const { id } = await moved()
    await writeKeyedRow()
    const before = await epoch()
    expect(await steer(id, 'reverse')).toMatchObject({ source: target, target: source, reversed: true })
    await reaches(id, 'settling')
    expect(await epoch()).toBe(before + 1)
    expect(await whereIs('users', KEYED_TABLE, slot)).toMatchObject({
      [source]: { rows: 1, state: 'moving' },
      [target]: { rows: 1, state: 'moved' },
    })
  })

  test('that settles is completed as soon as the last lease has expired', async () => {
    const { id } = await moved()
    const move = await steer(id, 'complete')
    expect(move.state).toBe('settling')
    const settlesIn = Date.parse(move.settlesAt!) - Date.now()
    expect(settlesIn).toBeGreaterThan(LEASE_MS - WAIT_MS)
    expect(settlesIn).toBeLessThan(LEASE_MS + LEASE_MS / 3 + 1_001)
    await refused(ask('POST', `/${id}/abort`), 409, 'MOVE_STATE')
  })
})

describe('a move whose mover sleeps', () => {
  test('keeps other moves from its shards: SHARD_IN_MOVE, with Retry-After', async () => {
    const [planned] = await plan({ slots: '0000-00ff', target: 'shard-001' }, unheard)
    const answer = await refused(ask('POST', '', { slots: '9000', target: 'shard-000' }), 409, 'SHARD_IN_MOVE')
    expect(answer.headers.get('retry-after')).toBe('5')
    expect(answer.json<{ detail: string }>().detail).toContain(planned!.id)
  })

  test('is woken by the cron', async () => {
    const [planned] = await plan({ slots: '0100-01ff', target: 'shard-001' }, unheard)
    expect((await find(planned!.id)).state).toBe('planned')
    await isolate.cron()
    await reaches(planned!.id, 'settling')
  })

  test('is aborted at once while it is planned, and cannot be reversed or completed then', async () => {
    const [planned] = await plan({ slots: '0200-02ff', target: 'shard-001' }, unheard)
    const { id } = planned!
    await refused(ask('POST', `/${id}/reverse`), 409, 'MOVE_STATE')
    await refused(ask('POST', `/${id}/complete`), 409, 'MOVE_STATE')
    expect(await steer(id, 'abort')).toMatchObject({ state: 'aborted', progress: 1 })
    for (const verb of ['abort', 'reverse', 'complete']) await refused(ask('POST', `/${id}/${verb}`), 409, 'MOVE_STATE')
  })

  test('that has started shows its state and its ending until everything is undone', async () => {
    const [planned] = await plan({ slots: '0300-03ff', target: 'shard-001' }, unheard)
    const { id } = planned!
    const record = (await directory().findMove(id)) as unknown as MoveRecord
    expect(await directory().changeMove(record, { to: 'preparing' }, null)).toMatchObject({ outcome: 'recorded' })
    const aborted = await ask('POST', `/${id}/abort`, undefined, unheard)
    expect(aborted.json<{ move: Move }>().move).toMatchObject({ state: 'preparing', ending: 'aborted' })
    await refused(ask('POST', `/${id}/abort`, undefined, unheard), 409, 'MOVE_STATE')
    await isolate.cron()
    expect(await reaches(id, 'aborted')).not.toHaveProperty('ending')
    expect(await whereIs('users', 'profiles', '0300')).toEqual({
      'shard-000': { rows: 0, state: 'active' },
      'shard-001': { rows: 0, state: null },
    })
  })

  test('shows its slots and rows at both shards, and is undone by choice; a refusal of an unsafe choice names the safe ones', async () => {
    const [planned] = await plan({ slots: '0500-05ff', target: 'shard-001' }, unheard)
    const { id } = planned!
    const sides = (await ask('GET', `/${id}/sides`)).json<Record<string, unknown>>()
    expect(sides).toEqual({
      move: planned,
      sides: [
        { shard: 'shard-000', slots: [{ state: 'active', move: null, slots: 256 }], rows: 0, isMore: false },
        { shard: 'shard-001', slots: [], rows: 0, isMore: false },
      ],
      choices: ['undo'],
    })
    const unsafe = await refused(ask('POST', `/${id}/resolve`, { choice: 'activate' }), 409, 'MOVE_STATE')
    expect(unsafe.json<{ errors: unknown }>().errors).toEqual([{ pointer: '/choice', detail: 'Safe now: undo' }])
    await refused(ask('POST', `/${id}/resolve`, { choice: 'everything' }), 422, 'INVALID')
    const resolved = await ask('POST', `/${id}/resolve`, { choice: 'undo' })
    expect([resolved.status, resolved.json<{ move: Move }>().move.state]).toEqual([200, 'aborted'])
    await refused(ask('POST', `/${id}/resolve`, { choice: 'undo' }), 409, 'MOVE_STATE')
  })

  test('is planned even if the directory’s answer is lost; reads report that the directory is unavailable', async () => {
    const real = directory()
    const lose = () => Promise.reject(new Error('Network connection lost.'))
    const deaf = {
      map: () => real.map(),
      encodedMap: (...known: Parameters<typeof real.encodedMap>) => real.encodedMap(...known),
      planMoves: (wish: Parameters<typeof real.planMoves>[0]) => real.planMoves(wish).then(lose),
      listMoves: lose,
    }
    const DIRECTORY = {
      idFromName: () => real.id,
      get: () => ({ id: real.id, ...deaf }),
    } as unknown as Env['DIRECTORY']
    const away = workerIsolate({ DIRECTORY })
    const lost = await refused(ask('POST', '', { slots: '0400', target: 'shard-001' }, away), 503, 'OUTCOME_UNKNOWN')
    expect(lost.headers.get('retry-after')).toBe('5')
    expect((await ask('GET', '')).json<{ items: Move[] }>().items[0]).toMatchObject({ slots: '0400-0400' })
    await refused(ask('GET', '', undefined, away), 503, 'DIRECTORY_UNAVAILABLE')
  })
})

describe('an Idempotency-Key', () => {
  const send = (path: string, key: string, json?: unknown, through = unheard) =>
    through.request('POST', `/operator/v1/moves${path}`, { token, key, ...(json === undefined ? {} : { json }) })

  test('has one effect and one answer, even if the first answer was lost; with another body it is refused', async () => {
    const wish = { slots: '0700', target: 'shard-001' }
    const real = directory()
    const lose = () => Promise.reject(new Error('Network connection lost.'))
    const deaf = {
      map: () => real.map(),
      encodedMap: (...known: Parameters<typeof real.encodedMap>) => real.encodedMap(...known),
      planMoves: (...wish: Parameters<typeof real.planMoves>) => real.planMoves(...wish).then(lose),
    }
    const DIRECTORY = {
      idFromName: () => real.id,
      get: () => ({ id: real.id, ...deaf }),
    } as unknown as Env['DIRECTORY']
    const away = workerIsolate({ DIRECTORY })
    await refused(send('', 'plan 0700', wish, away), 503, 'OUTCOME_UNKNOWN')
    const [again, thrice] = [await send('', 'plan 0700', wish), await send('', 'plan 0700', wish)]
    expect([again.status, thrice.status]).toEqual([202, 202])
    expect(thrice.json()).toEqual(again.json())
    const [move] = again.json<{ moves: Move[] }>().moves
    const listed = (await ask('GET', '')).json<{ items: { id: string; slots: string }[] }>().items
    expect(listed.filter(({ slots }) => slots === '0700-0700')).toMatchObject([{ id: move!.id }])
    await refused(send('', 'plan 0700', { ...wish, slots: '0701' }), 422, 'IDEMPOTENCY_KEY_REUSED')

    const aborted = await send(`/${move!.id}/abort`, 'abort 0700')
    expect(aborted.status).toBe(202)
    expect((await send(`/${move!.id}/abort`, 'abort 0700')).text).toBe(aborted.text)
    await refused(send(`/${move!.id}/abort`, 'another key'), 409, 'MOVE_STATE')
  })

  test('has a bounded length', async () => {
    for (const [path, json] of [
      ['/moves', { slots: '0700', target: 'shard-001' }],
      ['/moves/x/abort', undefined],
      ['/shards', { binding: 'SHARD_001' }],
      ['/shards/shard-001/drain', undefined],
      ['/rebalance', {}],
    ] as const)
      await refused(
        isolate.request('POST', `/operator/v1${path}`, { token, key: 'a'.repeat(201), ...(json ? { json } : {}) }),
        422,
        'INVALID',
      )
  })
})

describe('the list', () => {
  test('is newest first, in pages', async () => {
    for (const slots of ['0500', '0501', '0502']) {
      const [planned] = await plan({ slots, target: 'shard-001' }, unheard)
      await steer(planned!.id, 'abort')
    }
    const page = async (query: string) =>
      (await ask('GET', `?limit=2${query}`)).json<{ items: { slots: string }[]; next: string | null }>()
    const first = await page('')
    expect(first.items.map(({ slots }) => slots)).toEqual(['0502-0502', '0501-0501'])
    expect((await page(`&cursor=${first.next}`)).items[0]).toMatchObject({ slots: '0500-0500', state: 'aborted' })
    const all = (await ask('GET', '?limit=100')).json<{ items: { createdAt: string }[]; next: string | null }>()
    expect(all.next).toBeNull()
    expect(all.items.map(({ createdAt }) => createdAt)).toEqual(
      all.items
        .map(({ createdAt }) => createdAt)
        .toSorted()
        .toReversed(),
    )
    await refused(ask('GET', '?cursor=x'), 422, 'INVALID')
    await refused(ask('GET', '?limit=101'), 422, 'INVALID')
  })
})

describe('refused requests', () => {
  const right = { slots: '0600', target: 'shard-001' }

  test.each<[string, Record<string, unknown>, string]>([
    ['no slots', { target: 'shard-001' }, '/slots'],
    ...['', '600', '06G0', '00FF', '0600-', '0601-0600', '0600,', '0600 ', '0600,0600', '0600-0602,0602'].map(
      (slots) => [`slots "${slots}"`, { ...right, slots }, '/slots'] as [string, Record<string, unknown>, string],
    ),
    ['no target', { slots: '0600' }, '/target'],
    ['an unknown target', { ...right, target: 'shard-009' }, '/target'],
    ['a binding as the target', { ...right, target: 'SHARD_001' }, '/target'],
    ['an unknown keyspace', { ...right, keyspace: 'posts' }, '/keyspace'],
    ['an unknown field', { ...right, dryRun: true }, '/dryRun'],
  ])('%s', async (_name, wish, pointer) => {
    const answer = await refused(ask('POST', '', wish), 422, 'INVALID')
    expect(answer.json<{ errors: { pointer: string }[] }>().errors).toMatchObject([{ pointer }])
  })

  test('an id that no move has', async () => {
    const noMove = '01arz3ndektsv4rrffq69g5fav'
    for (const id of ['x', 'null', '%00', noMove.toUpperCase(), noMove, 'a'.repeat(5_000)]) {
      await refused(ask('GET', `/${id}`), 404, 'NOT_FOUND')
      for (const verb of ['abort', 'reverse', 'complete'])
        await refused(ask('POST', `/${id}/${verb}`), 404, 'NOT_FOUND')
      await refused(ask('GET', `/${id}/sides`), 404, 'NOT_FOUND')
      await refused(ask('POST', `/${id}/resolve`, { choice: 'retry' }), 404, 'NOT_FOUND')
    }
  })

  test('requests without the operators’ token, and all requests if none is configured', async () => {
    const closed = workerIsolate({ OPERATOR_TOKEN: '' })
    for (const [method, path] of [
      ['GET', ''],
      ['POST', ''],
      ['GET', '/01arz3ndektsv4rrffq69g5fav'],
      ['POST', '/01arz3ndektsv4rrffq69g5fav/abort'],
    ] as const) {
      const full = `/operator/v1/moves${path}`
      await refused(isolate.request(method, full, { token: 'x' }), 401, 'OPERATOR_TOKEN_REQUIRED')
      await refused(closed.request(method, full, { token }), 404, 'NOT_FOUND')
    }
  })
})
