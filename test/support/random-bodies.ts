/**
 * Sends random bytes as the body of every route that takes one. A body that is not UTF-8 gets 400; an accepted body is
 * read back exactly as it was sent. The routes are the application's own list, so a new route is included
 * automatically. A route that accepts a body needs a line in `rows`, or in its noun's file (test/support/nouns), that
 * defines how it is read back.
 */
import fc from 'fast-check'
import { expect } from 'vitest'
import { web } from '../../workers/web.ts'
import { type NounRoute, nounRoutes, ownerOf, pathOf } from './noun-routes.ts'
import type { Fields, Owner } from './nouns.ts'
import { type OpenApiDocument, type Schema, sampleOf } from './openapi.ts'
import { everything, runEverywhere } from './shard-rows.ts'
import { type WorkerAnswer, workerIsolate } from './worker-isolate.ts'

type Ask = (method: string, path: string, options?: { json?: unknown; token?: string }) => Promise<WorkerAnswer>

/** The sender, and what is known about it. */
interface Sender {
  isolate: ReturnType<typeof workerIsolate>
  ask: Ask
  token: string
  password: string
  /** The sender, with the entities that the nouns have created. */
  owner: Owner
  number: number
}

/** The fields of an accepted body that must be stored, and the fields that are read back. */
type ReadBack = (sender: Sender, sent: Fields, answer: WorkerAnswer) => Promise<[sent: unknown, stored: unknown]>

interface Row {
  /** Instead of a placeholder for each parameter. */
  path?: (sender: Sender) => string
  /**
   * A body that is accepted, or refused only because of the entities it names. By default, the document's own sample.
   */
  valid?: (sender: Sender) => Fields
  isSignedOut?: boolean
  readBack?: ReadBack
  /**
   * The route accepts the body as a whole and refuses single users in it, so an unpaired surrogate refuses only its
   * user.
   */
  judgesEach?: boolean
}

const OPERATOR_TOKEN = 'banyan-local'
/**
 * Has the character that often replaces bytes which are not UTF-8. Such bytes must not be accepted as this password.
 */
const PASSWORD = 'sept h\u00e9rons \ufffd\ufffd \ud83c\udf33'
const ANY = 'x'

const stranger = ({ number }: Sender) => ({
  email: `random.${number}@example.com`,
  handle: `random_${number}`,
  password: `${PASSWORD} ${number}`,
})

const signsIn = async ({ ask }: Sender, login: unknown, password: unknown) =>
  (await ask('POST', '/api/v1/sessions', { json: { login, password } })).status

/** The other rows know the sender by this handle, so it is taken back. */
const handleReadBack: ReadBack = async (sender, sent) => {
  const { handle } = await me(sender)
  await sender.ask('PUT', '/api/v1/me/handle', { json: { handle: 'sender' }, token: sender.token })
  return [String(sent.handle).trim().toLowerCase(), handle]
}

/** The new password is the account's. */
const newPassword =
  (login: (sent: Fields) => unknown, name: string): ReadBack =>
  async (sender, sent) => [201, await signsIn(sender, login(sent), sent[name])]

const me = async ({ ask, token }: Sender) =>
  (await ask('GET', '/api/v1/me', { token })).json<{ user: { handle: string; displayName: string; bio: string } }>()
    .user

/** A name is trimmed, and a field that is not sent stays unchanged. */
const profileReadBack: ReadBack = async (sender, sent) => {
  const { displayName, bio } = await me(sender)
  const wanted = { displayName: (sent.displayName as string | undefined)?.trim() ?? displayName, bio: sent.bio ?? bio }
  return [wanted, { displayName, bio }]
}

const accountReadBack: ReadBack = async (sender, sent) => {
  const handle = String(sent.handle).trim().toLowerCase()
  const { user } = (await sender.ask('GET', `/api/v1/users/${handle}`)).json<{ user: { displayName: string } }>()
  const name = (sent.displayName as string | undefined)?.trim() || handle
  const byAddress = await signsIn(sender, sent.email, sent.password)
  return [
    [name, 201, 201],
    [user.displayName, byAddress, await signsIn(sender, handle, sent.password)],
  ]
}

const passwordChange =
  (then: ReadBack): ReadBack =>
  async (sender, sent, answer) => {
    sender.password = String(sent.next)
    return then(sender, sent, answer)
  }

/** Only this exact password signs in. Passwords are compared after NFKC. */
const passwordMatches: ReadBack = async ({ password }, sent) => [
  String(sent.password).normalize('NFKC'),
  password.normalize('NFKC'),
]

/** Nothing of the body is stored. */
const nothingStored: ReadBack = async () => [null, null]

const users = ({ number }: Sender) => [
  {
    externalId: `${number} a`,
    email: `there.${number}@example.com`,
    handle: `there_${number}`,
    displayName: 'A',
    bio: 'B',
  },
]
const importsReadBack: ReadBack = async ({ ask }, sent, answer) => {
  const { items } = answer.json<{ items: { externalId: string; outcome?: string }[] }>()
  const records = sent.users as Record<string, string>[]
  const stored = await Promise.all(
    records.map(async ({ handle }, index) => {
      if (items[index]!.outcome !== 'imported') return null
      return (await ask('GET', `/api/v1/users/${handle!.trim()}`)).json<{ user: Fields }>().user
    }),
  )
  const wanted = records.map(({ externalId, displayName, bio, handle }, index) => [
    externalId,
    stored[index] && { displayName: displayName?.trim() ?? handle!.trim().toLowerCase(), bio: bio ?? '' },
  ])
  const met = items.map(({ externalId }, index) => [
    externalId,
    stored[index] && { displayName: stored[index].displayName, bio: stored[index].bio },
  ])
  return [wanted, met]
}

const rowOf = (route: NounRoute): Row => {
  const { body, readBack } = route
  return {
    path: ({ owner }) => pathOf(route, owner),
    ...(body && { valid: ({ number }) => body(number) }),
    ...(readBack && { readBack: ({ owner }, sent, answer) => readBack(owner, sent, answer) }),
  }
}

const nounRows = nounRoutes.filter(({ body }) => body).map((route) => [route.route, rowOf(route)] as const)

const rows: Record<string, Row> = {
  ...Object.fromEntries(nounRows),
  'POST /api/v1/accounts': {
    valid: (sender) => ({ ...stranger(sender), displayName: 'A' }),
    readBack: accountReadBack,
  },
  'POST /api/v1/sessions': {
    valid: ({ password }) => ({ login: 'sender', password }),
    readBack: passwordMatches,
  },
  'POST /api/v1/password-resets': { valid: () => ({ email: 'sender@example.com' }), readBack: nothingStored },
  'POST /api/v1/password-resets/:token': { valid: () => ({ password: PASSWORD }) },
  'PUT /api/v1/me/password': {
    valid: ({ password }) => ({ current: password, next: PASSWORD }),
    readBack: passwordChange(newPassword(() => 'sender', 'next')),
  },
  'PUT /api/v1/me/handle': { valid: () => ({ handle: 'sender' }), readBack: handleReadBack },
  'PUT /api/v1/me/email': {
    valid: ({ password }) => ({ email: 'sender@example.com', password }),
    readBack: passwordMatches,
  },
  'PATCH /api/v1/me': { valid: () => ({ displayName: 'A', bio: 'B' }), readBack: profileReadBack },
  'DELETE /api/v1/sessions': { valid: () => ({}), readBack: nothingStored },
  'POST /api/v1/email-verifications': { valid: () => ({}), readBack: nothingStored },
  'POST /operator/v1/imports': {
    valid: (sender) => ({ source: 'old', users: users(sender) }),
    readBack: importsReadBack,
    judgesEach: true,
  },
  'POST /operator/v1/imports/verifications': {
    valid: (sender) => ({ source: 'old', users: users(sender) }),
    readBack: importsReadBack,
    judgesEach: true,
  },
  'PATCH /operator/v1/shards/:id': {
    path: () => '/operator/v1/shards/shard-000',
    valid: () => ({ state: 'serving' }),
    readBack: async (_, sent, answer) => [sent.state, answer.json<{ shard: Fields }>().shard.state],
  },
  'POST /operator/v1/rebalance': { valid: () => ({ dryRun: true, by: 'slots' }), readBack: nothingStored },
  'POST /operator/v1/keyspaces/:name/place': {
    path: () => '/operator/v1/keyspaces/claims/place',
    valid: () => ({ target: 'shard-404' }),
  },
  'POST /operator/v1/dead-letters/redrive': { valid: () => ({ kind: 'none' }), readBack: nothingStored },
  'POST /operator/v1/dead-letters/discard': { valid: () => ({ kind: 'none' }), readBack: nothingStored },
  'PATCH /operator/v1/jobs/kinds/:kind': {
    path: () => '/operator/v1/jobs/kinds/cache.purge',
    valid: () => ({ paused: false }),
    readBack: nothingStored,
  },
  'PATCH /operator/v1/jobs/queues/:queue': {
    path: () => '/operator/v1/jobs/queues/media',
    valid: () => ({ paused: false }),
    readBack: nothingStored,
  },
  'POST /operator/v1/probe': { valid: () => ({ after: 'SHARD_998' }), readBack: nothingStored },
  'POST /operator/v1/moves': { valid: () => ({ slots: '0000-00ff', target: 'shard-404', keyspace: 'users' }) },
  'POST /signup': {
    valid: (sender) => ({ ...stranger(sender), displayName: 'A' }),
    isSignedOut: true,
    readBack: accountReadBack,
  },
  'POST /login': {
    valid: ({ password }) => ({ login: 'sender', password, next: '/home' }),
    isSignedOut: true,
    readBack: passwordMatches,
  },
  'POST /logout': { valid: () => ({}), isSignedOut: true, readBack: nothingStored },
  'POST /settings/profile': { valid: () => ({ displayName: 'A', bio: 'B' }), readBack: profileReadBack },
  'POST /settings/password': {
    valid: ({ password }) => ({ current: password, next: PASSWORD }),
    readBack: passwordChange(newPassword(() => 'sender', 'next')),
  },
  'POST /settings/handle': { valid: () => ({ handle: 'sender' }), readBack: handleReadBack },
  'POST /settings/email': {
    valid: ({ password }) => ({ email: 'sender@example.com', password }),
    readBack: passwordMatches,
  },
  'POST /settings/notices': { valid: () => ({ newLogIn: 'on' }), readBack: nothingStored },
  'POST /settings/email-verification': { valid: () => ({}), readBack: nothingStored },
  'POST /settings/sessions/end-others': { valid: () => ({}), readBack: nothingStored },
  'POST /forgot-password': { valid: () => ({ email: 'sender@example.com' }), readBack: nothingStored },
  'POST /reset-password/:token': { valid: () => ({ password: PASSWORD }) },
}

/** The routes whose body is a file, and so no text. */
const files = new Set(nounRoutes.filter(({ file }) => file).map(({ route }) => route))

/** Every method and path of the application that may have a body of text. */
export const bodyRoutes: string[] = [
  ...new Set(
    web.routes
      .filter(({ method }) => !['ALL', 'GET', 'HEAD'].includes(method))
      .map(({ method, path }) => `${method} ${path}`)
      .filter((route) => !files.has(route)),
  ),
].toSorted()

const isApi = (route: string) => / \/(?:api|operator)\//.test(route)

// ── what is sent ──────────────────────────────────────────────────────────────────────────────────

const NOT_UTF8 = ['e9', '80', 'ff', 'c0af', 'eda080', 'f09f8c', 'f4908080'].map((hex) => Buffer.from(hex, 'hex'))

/** U+FFFD is excluded, because no stored text may have it. */
const text = fc
  .oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: 'grapheme', minLength: 10, maxLength: 40 }),
    fc.constantFrom('\ud800', 'a\udfffb', '\ufeffa', 'a\u0000b', '\u200b', ' a ', 'a\r\nb', '%E9', '+', '&text=b'),
  )
  .map((text) => text.replaceAll('\ufffd', '?'))

type Mutation =
  | { kind: 'none' | 'bom' | 'impostor' }
  | { kind: 'insert' | 'replace'; at: number; bytes: Buffer }
  | { kind: 'in-text'; bytes: Buffer }
  | { kind: 'random'; bytes: Uint8Array }

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Mutation>({ kind: 'none' }) },
  fc.constantFrom<Mutation>({ kind: 'bom' }, { kind: 'impostor' }),
  fc.record({
    kind: fc.constantFrom('insert' as const, 'replace' as const),
    at: fc.nat(400),
    bytes: fc.oneof(fc.constantFrom(...NOT_UTF8), fc.uint8Array({ minLength: 1, maxLength: 3 }).map(Buffer.from)),
  }),
  fc.record({ kind: fc.constant('in-text' as const), bytes: fc.constantFrom(...NOT_UTF8) }),
  fc.record({ kind: fc.constant('random' as const), bytes: fc.uint8Array({ maxLength: 60 }) }),
)

/** The place for the mutated bytes. */
const MARK = 'markedhere'

/**
 * Drawn for every route: the valid body, the text that a lenient decoder would read instead, and other bytes in its
 * first texts.
 */
const examples = [false, true].flatMap((isEscaped) => {
  const plain = { isChanged: false, field: 0, text: '', isEscaped }
  return [
    ...(['none', 'impostor'] as const).map((kind): [Sending] => [{ ...plain, mutation: { kind } }]),
    ...[0, 1].map((field): [Sending] => [{ ...plain, field, mutation: { kind: 'in-text', bytes: NOT_UTF8[0]! } }]),
  ]
})

/** Replaces one text of a valid body, and mutates the bytes. */
const sending = fc.record({ isChanged: fc.boolean(), field: fc.nat(20), text, mutation, isEscaped: fc.boolean() })
type Sending = typeof sending extends fc.Arbitrary<infer T> ? T : never

function encoded(isForm: boolean, valid: Fields, { isChanged, field, text, mutation, isEscaped }: Sending): Buffer {
  const isMarked = mutation.kind === 'in-text'
  const fields = isMarked || isChanged ? withText(valid, field, isMarked ? `a${MARK}` : text) : valid
  const body = isForm ? formOf(fields as Record<string, string>, isEscaped) : Buffer.from(jsonOf(fields, isEscaped))
  switch (mutation.kind) {
    case 'none':
      return body
    case 'bom':
      return Buffer.concat([Buffer.from('\ufeff'), body])
    case 'impostor':
      return Buffer.from(withImpostors(body.toString('latin1')), 'latin1')
    case 'in-text':
      return Buffer.from(withMarked(body.toString('latin1'), mutation.bytes), 'latin1')
    case 'random':
      return Buffer.from(mutation.bytes)
    default: {
      const at = mutation.at % (body.length + 1)
      const rest = body.subarray(mutation.kind === 'insert' ? at : Math.min(body.length, at + mutation.bytes.length))
      return Buffer.concat([body.subarray(0, at), mutation.bytes, rest])
    }
  }
}

/** Replaces the text with this number, counted through the whole body. */
function withText(valid: Fields, number: number, text: string): Fields {
  const paths: PropertyKey[][] = []
  const collect = (value: unknown, at: PropertyKey[]): void => {
    if (typeof value === 'string') paths.push(at)
    else if (typeof value === 'object' && value !== null)
      for (const [name, part] of Object.entries(value)) collect(part, [...at, name])
  }
  collect(valid, [])
  const copy = structuredClone(valid)
  const chosen = paths[number % Math.max(1, paths.length)]
  if (!chosen) return { ...copy, unread: text }
  let parent = copy as Record<PropertyKey, unknown>
  for (const name of chosen.slice(0, -1)) parent = parent[name] as Record<PropertyKey, unknown>
  parent[chosen.at(-1)!] = text
  return copy
}

const jsonOf = (fields: Fields, isEscaped: boolean): string => {
  const json = JSON.stringify(fields)
  if (!isEscaped) return json
  return json.replaceAll(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const percent = (bytes: Buffer) => bytes.toString('hex').replaceAll(/../g, '%$&')

const withMarked = (body: string, bytes: Buffer): string =>
  body.replace(MARK, bytes.toString('latin1')).replace(percent(Buffer.from(MARK)), percent(bytes))

/** Escapes every byte, or as few as possible. */
function formOf(fields: Record<string, string>, isEscaped: boolean): Buffer {
  const every = (bytes: string) => percent(Buffer.from(bytes, 'latin1'))
  const few = (bytes: string) => bytes.replaceAll(/[%&+=]/g, every)
  const write = (text: string) => (isEscaped ? every : few)(bytesOf(text).toString('latin1'))
  const pairs = Object.entries(fields).map(([name, value]) => `${write(name)}=${write(value)}`)
  return Buffer.from(pairs.join('&'), 'latin1')
}

/** UTF-8. An unpaired surrogate becomes the three bytes of its number, which are not UTF-8. */
const bytesOf = (text: string): Buffer =>
  Buffer.concat(
    [...text].map((character) => {
      const unit = character.charCodeAt(0)
      if (character.isWellFormed()) return Buffer.from(character)
      return Buffer.of(0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f))
    }),
  )

/** Puts in each place a sequence that a lenient decoder would turn into U+FFFD. */
const withImpostors = (body: string): string =>
  body
    .replaceAll('\xef\xbf\xbd', '\xe9')
    .replaceAll(/%ef%bf%bd/gi, '%E9')
    .replaceAll(/\\ufffd/gi, '\\ud800')

// ── the required outcome ──────────────────────────────────────────────────────────────────────────

/** `Buffer` replaces bytes that are not UTF-8, so they do not survive a round trip. */
function textOf(bytes: Buffer): string | null {
  const text = bytes.toString('utf8')
  return Buffer.from(text).equals(bytes) ? text : null
}

/** The fields of a body according to RFC 8259 and the URL Standard §5.1, or null if it has none. */
function fieldsOf(isForm: boolean, bytes: Buffer): Fields | null {
  const text = textOf(bytes)
  if (text === null) return null
  if (!isForm) return parsedJson(text)
  const pairs = text.split('&').filter((pair) => pair !== '')
  const decoded = pairs.map((pair) => {
    const [name = '', ...value] = pair.split('=')
    return [name, value.join('=')].map((part) => textOf(unescaped(part)))
  })
  if (decoded.some((pair) => pair.includes(null))) return null
  return Object.fromEntries(decoded.map(([name, value]) => [name!, value!.replaceAll('\r\n', '\n')]))
}

function parsedJson(text: string): Fields | null {
  if (text === '') return {}
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

function unescaped(text: string): Buffer {
  const latin1 = Buffer.from(text.replaceAll('+', ' ')).toString('latin1')
  const bytes = latin1.replaceAll(/%([0-9a-f]{2})/gi, (_: string, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
  return Buffer.from(bytes, 'latin1')
}

const isWhole = (value: unknown): boolean => {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([name, part]) => name.isWellFormed() && isWhole(part))
}

const REFUSALS = [400, 401, 403, 404, 409, 422]

/** Sends `runs` random bodies to a route, one after another. */
export async function checkRandomBodies(sender: Sender, document: OpenApiDocument, route: string, runs: number) {
  const isForm = !isApi(route)
  const row = rows[route] ?? {}
  const [method, pattern] = route.split(' ') as [string, string]
  const valid = row.valid ?? (() => documented(document, method, pattern))
  await signInAgain(sender)
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(sending, async (drawn) => {
      sender.number++
      await runEverywhere('DELETE FROM password_attempts') // wrong passwords would make the right one wait
      const path = row.path?.(sender) ?? pattern.replaceAll(/:\w+/g, ANY)
      const body = encoded(isForm, valid(sender), drawn)
      const answer = await sender.isolate.request(method, path, { body, headers: headersOf(sender, route, row) })
      if (await judge(sender, { route, row, isForm, body }, answer)) accepted++
    }),
    { numRuns: runs, examples },
  )
  if (row.readBack) expect(accepted, `${route} refuses a valid body`).toBeGreaterThan(0)
}

/** A user keeps 100 sessions, and other routes have created as many. */
async function signInAgain(sender: Sender): Promise<void> {
  const json = { login: 'sender', password: sender.password }
  sender.token = (await sender.ask('POST', '/api/v1/sessions', { json })).json<{ token: string }>().token
}

const documented = (document: OpenApiDocument, method: string, pattern: string): Fields => {
  const path = pattern.replaceAll(/:(\w+)/g, '{$1}')
  const schema = document.paths[path]?.[method.toLowerCase()]?.requestBody?.content['application/json']?.schema
  return schema ? (sampleOf(document, schema as Schema) as Fields) : {}
}

function headersOf({ token }: Sender, route: string, { isSignedOut }: Row): Record<string, string> {
  if (isApi(route)) {
    const authorization = `Bearer ${route.includes(' /operator/') ? OPERATOR_TOKEN : token}`
    return { 'content-type': 'application/json', authorization }
  }
  const form = { 'content-type': 'application/x-www-form-urlencoded', origin: 'http://localhost' }
  return isSignedOut ? form : { ...form, cookie: `__Host-session=${token}` }
}

interface Sent {
  route: string
  row: Row
  isForm: boolean
  body: Buffer
}

/** True if the body was accepted and is stored as sent. */
async function judge(sender: Sender, { route, row, isForm, body }: Sent, answer: WorkerAnswer): Promise<boolean> {
  const said = `${route} ← ${JSON.stringify(body.toString('latin1'))} → ${answer.status} ${answer.text.slice(0, 200)}`
  const fields = fieldsOf(isForm, body)
  if (fields === null) {
    expect(answer.status, said).toBe(400)
    if (!isForm) expect(answer.json().code, said).toBe('MALFORMED_JSON')
    return false
  }
  if (REFUSALS.includes(answer.status)) return false
  expect(answer.status, said).toBeLessThan(400)
  if (!row.judgesEach) expect(isWhole(fields), said).toBe(true)
  expect(
    row.readBack,
    `${said}: define how it is read back, in test/support/random-bodies.ts or in the noun's file in test/support/nouns`,
  ).toBeDefined()
  const [sent, stored] = await row.readBack!(sender, fields, answer)
  expect(stored, said).toEqual(sent)
  return true
}

/** No stored text has a replaced character. */
export async function expectNothingReplaced(): Promise<void> {
  const stored = Object.values(await everything()).flat()
  expect(stored.filter((row) => JSON.stringify(row).includes('\ufffd'))).toEqual([])
}

/** A user of its own Worker, with the entities that the nouns create. */
export async function randomSender(): Promise<{ sender: Sender; document: OpenApiDocument }> {
  const isolate = workerIsolate()
  const ask: Ask = (method, path, options) => isolate.request(method, path, options)
  const account = { email: 'sender@example.com', handle: 'sender', password: PASSWORD }
  const { token } = (await ask('POST', '/api/v1/accounts', { json: account })).json<{ token: string }>()
  const owner = { handle: account.handle, created: {}, ask: asSender }
  const sender: Sender = { isolate, ask, token, password: PASSWORD, owner, number: 0 }
  /** The function renews the sender's token between routes. */
  function asSender(method: string, path: string, json?: unknown) {
    return ask(method, path, { token: sender.token, ...(json === undefined ? {} : { json }) })
  }
  sender.owner = await ownerOf(owner)
  const document = (await ask('GET', '/api/openapi.json')).json<OpenApiDocument>()
  return { sender, document }
}
