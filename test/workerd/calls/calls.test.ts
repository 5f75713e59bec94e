import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env as bindings } from 'cloudflare:workers'
import { beforeAll, describe, expect, test } from 'vitest'
import { unsubscribeToken } from '../../../src/app/accounts/log-in-notices.ts'
import { type MailPurpose, mailToken } from '../../../src/app/accounts/mail-tokens.ts'
import { boundShards } from '../../../src/sharding/bound-shards.ts'
import type { Env } from '../../../workers/env.ts'
import worker from '../../../workers/main.ts'
import { web } from '../../../workers/web.ts'
import { type NounRoute, nounRoutes, ownerOf, pathOf } from '../../support/noun-routes.ts'
import type { Owner, Who } from '../../support/nouns.ts'
import { databases } from '../../support/sharding-slots.ts'
import { type CountedEnv, type Counts, countedEnv } from './counted-env.ts'
import { type Row, table } from './table.ts'

const ORIGIN = 'http://localhost'
const PASSWORD = 'seven quiet herons'
const OPERATOR = (bindings as unknown as Env).OPERATOR_TOKEN!

interface Person extends Owner {
  userId: string
  email: string
  token: string
  cookie: string
}

interface Asked {
  path?: string
  json?: unknown
  form?: Record<string, string>
  headers?: Record<string, string>
}

interface World {
  warm: CountedEnv
  author: Person
  newPerson(): { email: string; handle: string; password: string }
  /** A new person, for requests that change who may sign in. */
  signUp(): Promise<Person>
  mailedToken(purpose: MailPurpose, userId: string): Promise<string>
}

let world: World
let firstCounts: Counts

/** One request to an isolate: its answer, and the calls made until then. */
async function counted(
  isolate: CountedEnv,
  route: string,
  who: Who,
  { path, json, form, headers: more = {} }: Asked,
  person?: Pick<Person, 'token' | 'cookie'>,
): Promise<{ answer: Response; counts: Counts; text: string }> {
  const [method = '', pattern = ''] = route.replace('ALL ', 'GET ').split(' ')
  const headers = new Headers({ accept: 'text/html', ...more })
  if (person && who === 'browser') headers.set('cookie', person.cookie)
  if (person && who.startsWith('bearer')) headers.set('authorization', `Bearer ${person.token}`)
  if (who === 'operator') headers.set('authorization', `Bearer ${OPERATOR}`)
  if (method !== 'GET') headers.set('origin', ORIGIN)
  let body: string | Uint8Array | null = null
  if (json !== undefined) {
    if (!(json instanceof Uint8Array)) headers.set('content-type', 'application/json')
    body = json instanceof Uint8Array ? json : JSON.stringify(json)
  } else if (form) {
    headers.set('content-type', 'application/x-www-form-urlencoded')
    body = new URLSearchParams(form).toString()
  }
  const request = new Request(ORIGIN + (path ?? pattern), { method, headers, body, redirect: 'manual' })
  const context = createExecutionContext()
  const before = { ...isolate.counts }
  isolate.closeQueues()
  const answer = await worker.fetch(request as Parameters<typeof worker.fetch>[0], isolate.env, context)
  const { d1, kv, directory } = isolate.counts
  isolate.openQueues()
  const text = await answer.text()
  await waitOnExecutionContext(context)
  return { answer, text, counts: { d1: d1 - before.d1, kv: kv - before.kv, directory: directory - before.directory } }
}

/** The cookies of each route's answers, for example `POST /logout` → `session (cleared)`. */
const cookiesByRoute = new Map<string, Set<string>>()

/** `__Host-` requires Secure, this host only and the path `/` (RFC 6265bis §4.1.3). */
function expectSafeCookies(route: string, answer: Response): void {
  for (const line of answer.headers.getSetCookie()) {
    const [pair = '', ...attributes] = line.split('; ')
    const [, name, value] = /^__Host-([a-z]+)=(.*)$/.exec(pair) ?? []
    expect(name, line).toBeDefined()
    const rest = attributes.filter((attribute) => !/^Max-Age=\d+$/.test(attribute))
    expect(rest.toSorted(), line).toEqual(['HttpOnly', 'Path=/', 'SameSite=Lax', 'Secure'])
    expect(attributes.length, line).toBe(5)
    const names = cookiesByRoute.get(route) ?? new Set()
    cookiesByRoute.set(route, names.add(value === '' ? `${name} (cleared)` : name!))
  }
}

const cookiesOf = (answer: Response): string =>
  answer.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ')

beforeAll(async () => {
  const warm = countedEnv(bindings as unknown as Env, { MAIL_PREVIEWS: 'on' })
  firstCounts = (await counted(warm, 'GET /login', 'visitor', {})).counts
  let people = 0
  const newPerson = () => {
    people++
    return { email: `person${people}@example.com`, handle: `person_${people}`, password: PASSWORD }
  }
  const signUp = async (): Promise<Person> => {
    const { email, handle, password } = newPerson()
    const json = { email, handle, password }
    const { answer, text } = await counted(warm, 'POST /api/v1/accounts', 'visitor', { json })
    expect(answer.status, text).toBe(201)
    const { user, token } = JSON.parse(text) as { user: { id: string }; token: string }
    const person = { userId: user.id, email, token, cookie: cookiesOf(answer) }
    const ask: Owner['ask'] = async (method, path, json) => {
      const { answer, text } = await counted(warm, method, 'bearer', { path, json }, person)
      return { status: answer.status, text, json: () => JSON.parse(text) }
    }
    return { ...person, ...(await ownerOf({ handle, ask })) }
  }
  const mailedToken = async (purpose: MailPurpose, userId: string) => {
    for (const database of boundShards(bindings as unknown as Env).values()) {
      const id = await database
        .prepare('SELECT id FROM mail_tokens WHERE user_id = ? AND purpose = ?')
        .bind(userId, purpose)
        .first<string>('id')
      if (id) return mailToken(warm.env.SIGNING_KEY!, purpose, id)
    }
    throw new Error(`no ${purpose} token of ${userId}`)
  }
  world = { warm, author: await signUp(), newPerson, signUp, mailedToken }
})

/** How a row's request is made, if its route alone does not say. It may create its own person. */
type Make = (world: World) => (Asked & { person?: Person }) | Promise<Asked & { person?: Person }>

const ownPerson = async (make: (person: Person) => Asked | Promise<Asked>): Promise<Asked & { person: Person }> => {
  const person = await world.signUp()
  return { ...(await make(person)), person }
}

const newSession = async (person: Person): Promise<string> => {
  const json = { login: person.handle, password: PASSWORD }
  const { text } = await counted(world.warm, 'POST /api/v1/sessions', 'visitor', { json })
  return (JSON.parse(text) as { token: string }).token.split('.')[1]!
}

const next = 'nine silent herons'
const resetToken = async (person: Person): Promise<string> => {
  await counted(world.warm, 'POST /api/v1/password-resets', 'visitor', { json: { email: person.email } })
  return world.mailedToken('reset-password', person.userId)
}

let renamed = 0
const newHandle = () => `renamed_${++renamed}`
const newAddress = () => `moved.${++renamed}@example.com`
const changeToken = async (person: Person): Promise<string> => {
  const json = { email: newAddress(), password: PASSWORD }
  await counted(world.warm, 'PUT /api/v1/me/email', 'bearer', { json }, person)
  return world.mailedToken('change-email', person.userId)
}

const { DIRECTORY, MOVER } = bindings as unknown as Env
const directory = () => DIRECTORY.get(DIRECTORY.idFromName('directory'))
const pause = () => new Promise((resolve) => setTimeout(resolve, 20))
let slots = 0

/** Slots that no other request uses. */
const aSlot = () => (slots++).toString(16).padStart(4, '0')

/** The path of a move that its mover does not know of yet. A mover at work would delay the request. */
async function plannedMove(): Promise<string> {
  const slot = aSlot()
  for (;;) {
    const reply = await directory().planMoves({ keyspace: 'users', ranges: [[slot, slot]], target: 'shard-001' })
    if ('moves' in reply) return `/operator/v1/moves/${reply.moves[0]!.id}`
    await pause()
  }
}

async function settlingMove(): Promise<string> {
  const path = await plannedMove()
  const id = path.split('/').at(-1)!
  await MOVER.get(MOVER.idFromName(id)).wake(id)
  while ((await directory().findMove(id))?.state !== 'settling') await pause()
  return path
}

/** Enough users that both shards have some of them and of their claims. */
const newcomers = (letter: string) => ({
  source: 'old',
  users: Array.from({ length: 40 }, (_, n) => {
    const name = `${letter}_newcomer_${n}`
    return { externalId: name, email: `${name}@example.com`, handle: name }
  }),
})

let bodies = 0

/** The request that a noun's row describes. If it deletes its entity, a new person sends it. */
const requestOf =
  (route: NounRoute): Make =>
  ({ author }) => {
    const body = route.body?.(++bodies)
    const asked = (owner: Owner): Asked => ({
      path: pathOf(route, owner),
      ...(route.isApi
        ? { json: route.file?.() ?? body }
        : route.method === 'GET'
          ? {}
          : { form: (body ?? {}) as Record<string, string> }),
    })
    return route.isFinal ? ownPerson(asked) : asked(author)
  }

/** A dead job in each shard. Resolves to their ids. */
async function deadLetters(kind: string): Promise<string[]> {
  const ids: string[] = []
  for (const [slot, database] of [['7ffe', databases.SHARD_000] as const, ['fffe', databases.SHARD_001] as const]) {
    const id = `${slot}01hf7yat00${String(++letters).padStart(16, '0')}`
    await database.batch([
      database
        .prepare("INSERT INTO outbox VALUES (?, ?, ?, '{}', 'dead', 2, 0, ?, NULL, NULL)")
        .bind(id, id, kind, Date.now()),
      database
        .prepare("INSERT INTO dead_letters VALUES (?, ?, ?, '{}', 'broken', 2, 1, ?, NULL)")
        .bind(id, id, kind, Date.now()),
    ])
    ids.push(id)
  }
  return ids
}
let letters = 0

const requests: Record<string, Make> = {
  ...Object.fromEntries(nounRoutes.map((route) => [route.route, requestOf(route)])),
  'POST /api/v1/accounts': ({ newPerson }) => ({ json: newPerson() }),
  'POST /api/v1/sessions': ({ author }) => ({ json: { login: author.handle, password: PASSWORD } }),
  'DELETE /api/v1/sessions': () => ownPerson(() => ({})),
  'DELETE /api/v1/sessions/:id': () => ownPerson(() => ({ path: '/api/v1/sessions/current' })),
  'POST /api/v1/email-verifications/:token': () =>
    ownPerson(async ({ userId }) => ({
      path: `/api/v1/email-verifications/${await world.mailedToken('verify-email', userId)}`,
    })),
  'POST /api/v1/password-resets': ({ author }) => ({ json: { email: author.email } }),
  'POST /api/v1/password-resets/:token': () =>
    ownPerson(async (person) => ({
      path: `/api/v1/password-resets/${await resetToken(person)}`,
      json: { password: next },
    })),
  'PUT /api/v1/me/password': () => ownPerson(() => ({ json: { current: PASSWORD, next } })),
  'PUT /api/v1/me/handle': () => ownPerson(() => ({ json: { handle: newHandle() } })),
  'PUT /api/v1/me/email': () => ownPerson(() => ({ json: { email: newAddress(), password: PASSWORD } })),
  'POST /api/v1/email-changes/:token': () =>
    ownPerson(async (person) => ({ path: `/api/v1/email-changes/${await changeToken(person)}` })),
  'PATCH /api/v1/me': () => ({ json: { bio: 'Still here.' } }),
  'GET /api/v1/users/:handle': ({ author }) => ({ path: `/api/v1/users/${author.handle}` }),
  'POST /operator/v1/imports': () => ({ json: newcomers('a') }),
  'POST /operator/v1/imports/verifications': () => ({ json: newcomers('b') }),
  'POST /operator/v1/moves': () => ({ json: { slots: aSlot(), target: 'shard-001' } }),
  'GET /operator/v1/moves/:id': async () => ({ path: await settlingMove() }),
  'POST /operator/v1/moves/:id/abort': async () => ({ path: `${await plannedMove()}/abort` }),
  'POST /operator/v1/moves/:id/reverse': async () => ({ path: `${await settlingMove()}/reverse` }),
  'POST /operator/v1/moves/:id/complete': async () => ({ path: `${await settlingMove()}/complete` }),
  'GET /operator/v1/moves/:id/sides': async () => ({ path: `${await settlingMove()}/sides` }),
  'POST /operator/v1/moves/:id/resolve': async () => ({
    path: `${await plannedMove()}/resolve`,
    json: { choice: 'undo' },
  }),
  'POST /operator/v1/shards': () => ({ json: { binding: 'SHARD_001' } }),
  'PATCH /operator/v1/shards/:id': () => ({ path: '/operator/v1/shards/shard-001', json: { state: 'serving' } }),
  'DELETE /operator/v1/shards/:id': () => ({ path: '/operator/v1/shards/shard-001' }),
  'POST /operator/v1/shards/:id/drain': () => ({ path: '/operator/v1/shards/shard-009/drain' }),
  'POST /operator/v1/dead-letters/:id/redrive': async () => ({
    path: `/operator/v1/dead-letters/${(await deadLetters('one'))[0]}/redrive`,
  }),
  'POST /operator/v1/dead-letters/redrive': async () => {
    await deadLetters('redriven')
    return { json: { kind: 'redriven' } }
  },
  'POST /operator/v1/dead-letters/discard': async () => {
    await deadLetters('discarded')
    return { json: { kind: 'discarded' } }
  },
  'PATCH /operator/v1/jobs/kinds/:kind': () => ({
    path: '/operator/v1/jobs/kinds/cache.purge',
    json: { paused: false },
  }),
  'PATCH /operator/v1/jobs/queues/:queue': () => ({
    path: '/operator/v1/jobs/queues/media',
    json: { paused: false },
  }),
  'POST /operator/v1/probe': () => ({ json: {} }),
  'POST /operator/v1/backfills/:name': () => ({ path: '/operator/v1/backfills/none' }),
  'PATCH /operator/v1/backfills/:name': () => ({ path: '/operator/v1/backfills/none', json: { paused: true } }),
  'POST /operator/v1/rebalance': () => ({ json: { dryRun: true } }),
  'POST /operator/v1/keyspaces/:name/place': () => ({
    path: '/operator/v1/keyspaces/claims/place',
    json: { target: 'shard-009' },
  }),
  'ALL /assets/*': () => ({ path: '/assets/none.0123456789abcdef.css' }),
  'POST /signup': ({ newPerson }) => ({ form: newPerson() }),
  'POST /login': ({ author }) => ({ form: { login: author.handle, password: PASSWORD } }),
  'POST /logout': () => ownPerson(() => ({ form: {} })),
  'POST /settings/profile': () => ({ form: { displayName: 'Ada', bio: '' } }),
  'POST /settings/avatar': () => ({ form: { remove: 'yes' } }),
  'POST /settings/password': () => ownPerson(() => ({ form: { current: PASSWORD, next } })),
  'POST /settings/handle': () => ownPerson(() => ({ form: { handle: newHandle() } })),
  'POST /settings/email': () => ownPerson(() => ({ form: { email: newAddress(), password: PASSWORD } })),
  'POST /settings/email-verification': () => ownPerson(() => ({ form: {} })),
  'POST /api/v1/email-verifications': () => ownPerson(() => ({})),
  'POST /settings/sessions/end-others': () => ownPerson(() => ({ form: {} })),
  'POST /settings/sessions/:id/end': () =>
    ownPerson(async (person) => ({ path: `/settings/sessions/${await newSession(person)}/end`, form: {} })),
  'GET /verify-email/:token': () => ({ path: '/verify-email/x' }),
  'POST /verify-email/:token': () =>
    ownPerson(async ({ userId }) => ({
      path: `/verify-email/${await world.mailedToken('verify-email', userId)}`,
      form: {},
    })),
  'GET /confirm-email/:token': () => ({ path: '/confirm-email/x' }),
  'POST /confirm-email/:token': () =>
    ownPerson(async (person) => ({ path: `/confirm-email/${await changeToken(person)}`, form: {} })),
  'GET /unsubscribe/:token': () => ({ path: '/unsubscribe/x' }),
  'POST /unsubscribe/:token': ({ author, warm }) => ({
    path: `/unsubscribe/${unsubscribeToken(warm.env.SIGNING_KEY!, author.userId)}`,
    form: {},
  }),
  'POST /settings/notices': () => ({ form: { newLogIn: 'on' } }),
  'GET /dev/mails/:id': () => ({ path: '/dev/mails/0000000000000-none' }),
  'POST /forgot-password': ({ author }) => ({ form: { email: author.email } }),
  'GET /reset-password/:token': () => ({ path: '/reset-password/x' }),
  'POST /reset-password/:token': () =>
    ownPerson(async (person) => ({ path: `/reset-password/${await resetToken(person)}`, form: { password: next } })),
  'GET /:handle{@[A-Za-z0-9_]+}': ({ author }) => ({ path: `/@${author.handle}` }),
}

/**
 * These are refused here: a deployment of two shards cannot remove one, the build names the assets, no mail is kept, and
 * no noun has a backfill. The calls until then are the same.
 */
const refusedHere = new Set([
  'GET /dev/mails/:id',
  ...nounRoutes.filter(({ needsJob }) => needsJob).map(({ route }) => route),
  'ALL /assets/*',
  'DELETE /operator/v1/shards/:id',
  'POST /operator/v1/shards/:id/drain',
  'POST /operator/v1/keyspaces/:name/place',
  'POST /operator/v1/backfills/:name',
  'PATCH /operator/v1/backfills/:name',
])

test('each route and page has a row, and each row has a route', () => {
  const routes = web.routes
    .filter(({ method, path }) => method !== 'ALL' || path === '/assets/*')
    .map(({ method, path }) => `${method} ${path}`)
  const rows = table.map(({ route }) => route)
  expect([...new Set(rows)].toSorted()).toEqual([...new Set(routes)].toSorted())
})

test('an isolate’s first request asks the directory for the map, and no database', () => {
  expect(firstCounts).toEqual({ d1: 0, kv: 0, directory: 1 })
})

describe('a warm isolate', () => {
  test.each(table)(
    '$route, $who: $d1 D1, $kv KV',
    async ({ route, who, why, ...figures }: Row) => {
      const { person = world.author, ...asked } = (await requests[route]?.(world)) ?? {}
      const isolate = who === 'bearer, not met in a minute' ? await otherIsolate() : world.warm
      const { answer, counts, text } = await counted(isolate, route, who, asked, person)
      const isThere = answer.status < 400
      expect(
        isThere || refusedHere.has(route) || nounRoutes.some((row) => row.route === route && row.isMissing),
        `${answer.status} ${text}`,
      ).toBe(true)
      expect(why).not.toBe('')
      expect(counts).toEqual(figures)
      expectSafeCookies(route, answer)
      const isOwnPage = who === 'browser' && answer.headers.get('content-type')?.startsWith('text/html')
      if (isOwnPage) expect(text).toContain('<form method="post" action="/logout">')
    },
    20_000,
  )

  test('sets a session’s cookies only where a session starts, is replaced or ends', () => {
    const ofSessions = [...cookiesByRoute]
      .map(([route, names]) => [
        route,
        [...names]
          .filter((name) => name !== 'causal')
          .toSorted()
          .join(', '),
      ])
      .filter(([, names]) => names !== '')
    const [started, ended] = ['session, stamp', 'session (cleared), stamp (cleared)']
    expect(Object.fromEntries(ofSessions)).toEqual({
      'POST /api/v1/accounts': started,
      'POST /api/v1/sessions': started,
      'POST /signup': started,
      'POST /login': started,
      'POST /settings/password': started,
      'DELETE /api/v1/sessions/:id': ended,
      'POST /logout': ended,
    })
  })

  test('reports its own calls in server-timing', async () => {
    const { author, warm } = world
    const { answer, counts } = await counted(warm, 'PATCH /api/v1/me', 'bearer', { json: { bio: 'Timed.' } }, author)
    const { d1, kv, directory } = counts
    const said = answer.headers.get('server-timing')
    expect(said).toContain(`d1;desc="${d1}", kv;desc="${kv}", directory;desc="${directory}"`)
  })
})

/** Warm, but has not met any session. */
async function otherIsolate(): Promise<CountedEnv> {
  const isolate = countedEnv(bindings as unknown as Env)
  await counted(isolate, 'GET /login', 'visitor', {})
  return isolate
}

describe('settings that are unsafe for their environment', () => {
  const ask = async (settings: Partial<Env>, url: string) => {
    const isolate = countedEnv(bindings as unknown as Env, settings)
    const headers = { authorization: `Bearer ${settings.OPERATOR_TOKEN ?? ''}` }
    const request = new Request(url, { headers }) as Parameters<typeof worker.fetch>[0]
    const context = createExecutionContext()
    const answer = await worker.fetch(request, isolate.env, context)
    const problem = (await answer.json()) as { code: string }
    await waitOnExecutionContext(context)
    return [answer.status, problem.code]
  }

  test('without an operator’s token the operators’ API does not exist', async () => {
    for (const path of ['/operator/v1/shards', '/operator/v1/nothing'])
      expect(await ask({ OPERATOR_TOKEN: '' }, ORIGIN + path)).toEqual([404, 'NOT_FOUND'])
  })

  test('publicly known secrets guard no public address', async () => {
    const url = 'https://banyan.example/operator/v1/shards'
    expect(await ask({ OPERATOR_TOKEN: 'banyan-local', RATE_LIMITS: 'on' }, url)).toEqual([503, 'LOCAL_SETTINGS'])
    expect(await ask({ OPERATOR_TOKEN: 'drawn at random', RATE_LIMITS: 'off' }, url)).toEqual([503, 'LOCAL_SETTINGS'])
  })

  test('a key that is too short, and times that are out of order, say how to fix them', async () => {
    expect(await ask({ SIGNING_KEY: 'short' }, `${ORIGIN}/api/v1/me`)).toEqual([503, 'SETTING_MISSING'])
    expect(await ask({ GRACE_MS: '600000' }, `${ORIGIN}/api/v1/me`)).toEqual([503, 'SETTING_MISSING'])
    expect(await ask({ JOBS: 'sometimes' }, `${ORIGIN}/api/v1/me`)).toEqual([503, 'SETTING_MISSING'])
  })
})
