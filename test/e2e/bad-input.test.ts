import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isId } from '../../src/core/ids.ts'
import {
  type Answer,
  askAs,
  type Bearer,
  type Browser,
  type Client,
  type RequestOptions,
} from '../support/http-client.ts'
import { bodyOf, documentedPath, type NounRoute, nounRoutes, ownerOf, pathOf } from '../support/noun-routes.ts'
import type { Owner } from '../support/nouns.ts'
import { documentedRoutes, faultsOf, type OpenApiDocument, routeOf } from '../support/openapi.ts'
import { OPERATOR_TOKEN, outboxesDrained, rowCounts, type Stack, startStack } from '../support/stack.ts'

const PASSWORD = 'seven quiet herons'
const BODY_BYTES_MAX = 65_536

let stack: Stack
let document: OpenApiDocument
let author: Bearer
let other: Bearer
let visitor: Bearer
let operator: Bearer
let cookies: Browser
let owner: Owner
let sessionId: string
let shownBefore: string[]
let rowsBefore: Record<string, number>

beforeAll(async () => {
  stack = await startStack()
  visitor = stack.bearer()
  operator = Object.assign(stack.bearer(), { token: OPERATOR_TOKEN })
  author = await signUp('author')
  other = await signUp('other')
  cookies = stack.browser()
  await cookies.post('/api/v1/sessions', { login: 'author', password: PASSWORD })
  // A new device writes a notice. The later log-in with it then writes none.
  await (await beetle()).request('DELETE', '/api/v1/sessions/current')
  owner = await ownerOf({ handle: 'author', ask: askAs(author) })
  sessionId = author.token!.split('.')[1]!
  document = (await visitor.get('/api/openapi.json')).json()
  await outboxesDrained(stack)
  shownBefore = await shown()
  rowsBefore = await rowCounts(stack)
})
afterAll(() => stack?.close())

/** The author, logged in with a User-Agent that is not ASCII. */
async function beetle(): Promise<Bearer> {
  const agent = bytesOf(Buffer.from('Käfer 🌳/1').toString('latin1')).toString('latin1')
  const client = stack.bearer()
  const logIn = { login: 'author', password: PASSWORD }
  expect((await client.post('/api/v1/sessions', logIn, { headers: { 'user-agent': agent } })).status).toBe(201)
  return client
}

/** The author's items, as the nouns' routes return them. */
function shown(): Promise<string[]> {
  const reads = nounRoutes.filter(({ method, isApi, isMissing }) => isApi && !isMissing && method === 'GET')
  return Promise.all(reads.map(async (route) => (await author.get(pathOf(route, owner))).text))
}

async function signUp(handle: string): Promise<Bearer> {
  const client = stack.bearer()
  const answer = await client.post('/api/v1/accounts', { email: `${handle}@example.com`, handle, password: PASSWORD })
  expect(answer.status).toBe(201)
  return client
}

// ── the form of every refusal ────────────────────────────────────────────

interface Problem {
  errors?: { pointer: string; detail: string }[]
}

function expectProblem(answer: Answer, status: number, code: string, about: string): Problem {
  const said = `${about} → ${answer.status} ${answer.text.slice(0, 300)}`
  expect(answer.headers.get('content-type'), said).toBe('application/problem+json')
  const problem = answer.json<Record<string, unknown>>()
  expect([answer.status, problem.status, problem.code], said).toEqual([status, status, code])
  for (const name of ['type', 'title', 'detail', 'requestId']) expect(problem[name], said).toMatch(/./)
  const known = ['type', 'title', 'status', 'detail', 'code', 'requestId', 'errors']
  expect(
    Object.keys(problem).filter((name) => !known.includes(name)),
    said,
  ).toEqual([])
  expect(problem.requestId, said).toBe(answer.headers.get('x-request-id'))
  expect(answer.headers.get('server-timing'), said).not.toBeNull()
  expect(answer.text, said).not.toMatch(/D1_|SQLITE|SELECT |INSERT |\.tsx?:\d|node_modules/)
  if (status === 401) expect(answer.headers.get('www-authenticate'), said).toBe('Bearer')
  return problem
}

/** Sends the request and expects the refusal. If the route is documented, the document must name this status. */
async function refused(
  client: Client,
  [method, path, options = {}]: [method: string, path: string, options?: RequestOptions | undefined],
  [status, code]: [status: number, code: string],
): Promise<Problem> {
  const answer = await client.request(method, path, options)
  const body = options.body ?? JSON.stringify(options.json ?? options.form ?? '')
  const about = `${method} ${path.slice(0, 120)} ${String(body).slice(0, 160)}`
  const problem = expectProblem(answer, status, code, about)
  const route = routeOf(document, method, path)
  if (route) expect(faultsOf(document, route, answer), about).toEqual([])
  return problem
}

// ── the table: every route with a body, and what each field refuses ───────────────────────────────

interface Field {
  isOptional?: boolean
  /** Texts that are refused. Values of other types are always refused. */
  refuses: string[]
}

interface BodyRoute {
  route: string
  path: () => string
  who: () => Client
  valid: Record<string, unknown>
  fields: Record<string, Field>
  /** If it is not the usual one. */
  bodyBytesMax?: number
}

const email: Field = {
  refuses: [
    '',
    'a',
    'a@',
    '@example.com',
    'a b@example.com',
    'a@example',
    'a@@example.com',
    'a\u0000@example.com',
    `${'a'.repeat(243)}@example.com`,
  ],
}
const handle: Field = {
  refuses: [
    '',
    'ab',
    'a'.repeat(31),
    '1abc',
    '_abc',
    'with-dash',
    'with space',
    'naïve',
    'a\u0000bc',
    'ａｂｃ',
    '\u212aelvin', // the kelvin sign is k in lower case
    '../..',
    'a.b.c',
  ],
}
const password: Field = {
  refuses: ['', 'nine char', '🦩'.repeat(9), 'x'.repeat(201), 'qwertyuiop', 'aaaaaaaaaaaa', 'PASSWORD123'],
}
const invisible = [
  '\u200b',
  '\u00ad',
  '\u2800',
  '\u3164',
  '\u{e0020}',
  '\u202e\ufeff',
  ' \u2060 ',
  '\u0000',
  '\ufe0f\u200d',
  '\u115f\u1160\uffa0',
]
const displayName: Field = {
  isOptional: true,
  refuses: ['', '   ', 'a'.repeat(51), '👩'.repeat(51), '\ud83e', ...invisible],
}
const someone = { email: 'new@example.com', handle: 'new_one', password: 'seven quiet herons' }

const nameOf = ({ method, pattern }: NounRoute) => `${method} ${documentedPath(pattern)}`
const apiRoutes = nounRoutes.filter(({ isApi }) => isApi)

const nounBodyRoutes = apiRoutes.flatMap((row): BodyRoute[] => {
  const { body, refuses = {}, optional = [] } = row
  if (!body) return []
  const fields = Object.entries(refuses).map(([name, refused]): [string, Field] => [
    name,
    { refuses: refused, isOptional: optional.includes(name) },
  ])
  const who = () => (row.isSignedIn ? author : visitor)
  return [
    { route: nameOf(row), path: () => pathOf(row, owner), who, valid: body(0), fields: Object.fromEntries(fields) },
  ]
})

const bodyRoutes: BodyRoute[] = [
  {
    route: 'POST /api/v1/accounts',
    path: () => '/api/v1/accounts',
    who: () => visitor,
    valid: someone,
    fields: { email, handle, password, displayName },
  },
  {
    route: 'POST /api/v1/sessions',
    path: () => '/api/v1/sessions',
    who: () => visitor,
    valid: { login: 'author', password: PASSWORD },
    fields: { login: { refuses: ['', 'a'.repeat(255)] }, password: { refuses: ['', 'a'.repeat(1_001)] } },
  },
  {
    route: 'POST /api/v1/password-resets',
    path: () => '/api/v1/password-resets',
    who: () => visitor,
    valid: { email: 'author@example.com' },
    fields: { email },
  },
  {
    route: 'POST /api/v1/password-resets/{token}',
    path: () => `/api/v1/password-resets/${sessionId}.${'a'.repeat(43)}`,
    who: () => visitor,
    valid: { password: 'nine silent herons' },
    fields: { password },
  },
  {
    route: 'PUT /api/v1/me/password',
    path: () => '/api/v1/me/password',
    who: () => author,
    valid: { current: PASSWORD, next: 'nine silent herons' },
    fields: { current: { refuses: ['', 'a'.repeat(1_001)] }, next: password },
  },
  {
    route: 'PUT /api/v1/me/handle',
    path: () => '/api/v1/me/handle',
    who: () => author,
    valid: { handle: 'author' },
    fields: { handle },
  },
  {
    route: 'PUT /api/v1/me/email',
    path: () => '/api/v1/me/email',
    who: () => author,
    valid: { email: 'new@example.com', password: PASSWORD },
    fields: { email, password: { refuses: ['', 'a'.repeat(1_001)] } },
  },
  {
    route: 'PATCH /api/v1/me',
    path: () => '/api/v1/me',
    who: () => author,
    valid: { displayName: 'A', bio: 'B' },
    fields: { displayName, bio: { isOptional: true, refuses: ['a'.repeat(301), '👩'.repeat(301), 'a\udc00'] } },
  },
  ...nounBodyRoutes,
  ...['/operator/v1/imports', '/operator/v1/imports/verifications'].map(
    (path): BodyRoute => ({
      route: `POST ${path}`,
      path: () => path,
      who: () => operator,
      valid: { source: 'old', users: [{ externalId: '1', email: 'old@example.com', handle: 'old_one' }] },
      fields: { source: { refuses: ['', 'Old', '-old', 'old application', 'old\u0000', 'a'.repeat(65)] } },
      bodyBytesMax: 1_048_576,
    }),
  ),
  {
    route: 'POST /operator/v1/shards',
    path: () => '/operator/v1/shards',
    who: () => operator,
    valid: { binding: 'SHARD_000' },
    fields: {
      binding: { refuses: ['', 'SHARD_0', 'shard-000', 'SHARD_0000', 'SHARD_00a', 'SHARD_000\n', 'SHARD_999'] },
    },
  },
  {
    route: 'PATCH /operator/v1/shards/{id}',
    path: () => '/operator/v1/shards/shard-000',
    who: () => operator,
    valid: { state: 'serving' },
    fields: { state: { refuses: ['', 'Serving', 'away', 'serving\u0000'] } },
  },
  {
    route: 'POST /operator/v1/rebalance',
    path: () => '/operator/v1/rebalance',
    who: () => operator,
    valid: { by: 'slots', keyspace: 'users' },
    fields: {
      by: { isOptional: true, refuses: ['', 'users', 'Slots'] },
      keyspace: { isOptional: true, refuses: ['', 'posts'] },
    },
  },
  {
    route: 'POST /operator/v1/keyspaces/{name}/place',
    path: () => '/operator/v1/keyspaces/claims/place',
    who: () => operator,
    valid: { target: 'shard-000' },
    fields: { target: { refuses: ['', 'SHARD_000', 'shard-404', 'shard-000\u0000', 'a'.repeat(101)] } },
  },
  ...['redrive', 'discard'].map(
    (verb): BodyRoute => ({
      route: `POST /operator/v1/dead-letters/${verb}`,
      path: () => `/operator/v1/dead-letters/${verb}`,
      who: () => operator,
      valid: { kind: 'none' },
      fields: { kind: { isOptional: true, refuses: ['', 'a'.repeat(101), 'a\udc00'] } }, // or ids
    }),
  ),
  {
    route: 'PATCH /operator/v1/backfills/{name}',
    path: () => '/operator/v1/backfills/none',
    who: () => operator,
    valid: { paused: true },
    fields: {},
  },
  ...['kinds/{kind}', 'queues/{queue}'].map(
    (route): BodyRoute => ({
      route: `PATCH /operator/v1/jobs/${route}`,
      path: () => `/operator/v1/jobs/${route.replace('{kind}', 'cache.purge').replace('{queue}', 'media')}`,
      who: () => operator,
      valid: { paused: false },
      fields: {},
    }),
  ),
  {
    route: 'POST /operator/v1/probe',
    path: () => '/operator/v1/probe',
    who: () => operator,
    valid: { after: 'SHARD_000' },
    fields: { after: { isOptional: true, refuses: ['', 'SHARD_0', 'shard-000', 'SHARD_0000', 'SHARD_000\n'] } },
  },
  {
    route: 'POST /operator/v1/moves/{id}/resolve',
    path: () => `/operator/v1/moves/${sessionId}/resolve`,
    who: () => operator,
    valid: { choice: 'retry' },
    fields: { choice: { refuses: ['', 'everything', 'Retry', 'undo\n'] } },
  },
  {
    route: 'POST /operator/v1/moves',
    path: () => '/operator/v1/moves',
    who: () => operator,
    valid: { slots: '0000-00ff', target: 'shard-001', keyspace: 'users' },
    fields: {
      slots: { refuses: ['', '0', '00FF', '00ff-0000', '0000,0000', '0000;0001', '\u00000000', '0000\n'] },
      target: { refuses: ['', 'shard-1', 'SHARD_001', 'shard-001\u0000', 'a'.repeat(101)] },
      keyspace: { isOptional: true, refuses: ['', 'posts', 'Users'] },
    },
  },
]

/** Bytes that are not UTF-8, each as text of one character per byte. */
const notUtf8 = {
  'Latin-1': '\xe9',
  'a lone continuation': '\x80',
  'an overlong slash': '\xc0\xaf',
  'a surrogate': '\xed\xa0\x80',
  'the start of a character': '\xf0\x9f\x8c',
  'more than U+10FFFF': '\xf4\x90\x80\x80',
}
const bytesOf = (text: string) => Buffer.from(text, 'latin1')
const escaped = (text: string) => bytesOf(text).toString('hex').replace(/../g, '%$&')

const methodOf = ({ route }: BodyRoute) => route.split(' ')[0]!
const JSON_TYPE = { 'content-type': 'application/json' }

test('the table has every route that has a body in the document', () => {
  const files = apiRoutes.filter(({ file }) => file).map(nameOf)
  const documented = documentedRoutes(document).filter(({ name, hasBody }) => hasBody && !files.includes(name))
  expect(bodyRoutes.map(({ route }) => route).toSorted()).toEqual(documented.map(({ name }) => name).toSorted())
})

describe.each(bodyRoutes)('$route', (row) => {
  const send = (options: RequestOptions, expected: [number, string]) =>
    refused(row.who(), [methodOf(row), row.path(), options], expected)

  test('refuses a body that is not JSON', async () => {
    for (const body of [
      '{',
      '{"a":1,}',
      'undefined',
      "{'a':1}",
      '\u0000',
      '{"a":"\n"}',
      '{} {}',
      new Uint8Array([0xff, 0xfe]),
    ])
      await send({ body, headers: JSON_TYPE }, [400, 'MALFORMED_JSON'])
    await send({ headers: JSON_TYPE }, [400, 'MALFORMED_JSON'])
  })

  test('refuses bytes that are not UTF-8, and a byte order mark', async () => {
    const json = JSON.stringify(row.valid)
    const value = json.indexOf(':') + (row.valid.users ? 0 : 2)
    for (const bytes of Object.values(notUtf8))
      for (const at of [1, value, json.length]) {
        const body = bytesOf(json.slice(0, at) + bytes + json.slice(at))
        await send({ body, headers: JSON_TYPE }, [400, 'MALFORMED_JSON'])
      }
    await send({ body: `\ufeff${json}`, headers: JSON_TYPE }, [400, 'MALFORMED_JSON'])
    await send({ body: bytesOf('"\xe9"'), headers: { 'content-type': 'text/plain' } }, [415, 'WRONG_CONTENT_TYPE'])
  })

  test('refuses another content type', async () => {
    const body = JSON.stringify(row.valid)
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'text/json',
      'application/jsonp',
      'json',
    ])
      for (const sent of [body, undefined])
        await send({ ...(sent && { body: sent }), headers: { 'content-type': type } }, [415, 'WRONG_CONTENT_TYPE'])
    for (const type of ['application/json ; charset=utf-8', 'application/json;', 'application/vnd.x2+json'])
      expect(
        (await row.who().request(methodOf(row), row.path(), { body: '{', headers: { 'content-type': type } })).status,
        type,
      ).toBe(400)
    await send({ body: new TextEncoder().encode(body) }, [415, 'WRONG_CONTENT_TYPE'])
  })

  test('refuses a body that is too large, even in chunks of unknown number', async () => {
    const of = (bytes: number) => '"'.padEnd(bytes - 1, 'a').concat('"')
    const { bodyBytesMax = BODY_BYTES_MAX } = row
    await send({ body: of(bodyBytesMax + 1), headers: JSON_TYPE }, [413, 'BODY_TOO_LARGE'])
    const chunks = new Blob([of(bodyBytesMax + 1)]).stream() as unknown as ReadableStream
    await send({ body: chunks, headers: JSON_TYPE }, [413, 'BODY_TOO_LARGE'])
    await send({ body: of(bodyBytesMax), headers: JSON_TYPE }, [422, 'INVALID'])
  })

  test('refuses JSON that is not an object, and unknown fields', async () => {
    for (const json of [null, [], [row.valid], 'text', 1, true]) await send({ json }, [422, 'INVALID'])
    const pointers = { nickname: '/nickname', 'a/b~c': '/a~1b~0c', constructor: '/constructor', '': '/' }
    for (const [name, pointer] of Object.entries(pointers)) {
      const { errors } = await send({ json: { ...row.valid, [name]: 'x' } }, [422, 'INVALID'])
      expect(errors).toMatchObject([{ pointer }])
    }
    const prototype = `{"__proto__":{"x":1},${JSON.stringify(row.valid).slice(1)}`
    const { errors } = await send({ body: prototype, headers: JSON_TYPE }, [422, 'INVALID'])
    expect(errors).toMatchObject([{ pointer: '/__proto__' }])
  })

  test.each(Object.entries(row.fields))('refuses a missing or wrong %s, with a pointer to it', async (name, field) => {
    const { [name]: _, ...without } = row.valid
    const points = async (json: unknown) => {
      const { errors } = await send({ json }, [422, 'INVALID'])
      expect([...new Set(errors?.map(({ pointer }) => pointer))], JSON.stringify(json).slice(0, 80)).toEqual([
        `/${name}`,
      ])
    }
    if (!field.isOptional) await points(without)
    for (const value of [null, 1, true, {}, [], ['text'], `${row.valid[name]}\ud800`, ...field.refuses])
      await points({ ...row.valid, [name]: value })
  })
})

describe('a route without a body', () => {
  const paths: Record<string, () => string> = {
    'DELETE /api/v1/sessions': () => '/api/v1/sessions',
    'DELETE /api/v1/sessions/{id}': () => `/api/v1/sessions/${sessionId}`,
    'POST /api/v1/email-verifications': () => '/api/v1/email-verifications',
    'POST /api/v1/email-verifications/{token}': () => `/api/v1/email-verifications/${sessionId}.${'a'.repeat(43)}`,
    'POST /api/v1/email-changes/{token}': () => `/api/v1/email-changes/${sessionId}.${'a'.repeat(43)}`,
    ...Object.fromEntries(
      apiRoutes
        .filter(({ method, body, file }) => method !== 'GET' && !body && !file)
        .map((row) => [nameOf(row), () => pathOf(row, owner)]),
    ),
    'DELETE /operator/v1/shards/{id}': () => '/operator/v1/shards/shard-001',
    'POST /operator/v1/shards/{id}/drain': () => '/operator/v1/shards/shard-001/drain',
    'POST /operator/v1/dead-letters/{id}/redrive': () => `/operator/v1/dead-letters/${sessionId}/redrive`,
    'POST /operator/v1/backfills/{name}': () => '/operator/v1/backfills/none',
    'POST /operator/v1/moves/{id}/abort': () => `/operator/v1/moves/${sessionId}/abort`,
    'POST /operator/v1/moves/{id}/reverse': () => `/operator/v1/moves/${sessionId}/reverse`,
    'POST /operator/v1/moves/{id}/complete': () => `/operator/v1/moves/${sessionId}/complete`,
  }

  test('refuses a body anyway: a drain with `dryRun` must not drain', async () => {
    const bodiless = documentedRoutes(document).filter(({ method, hasBody }) => method !== 'GET' && !hasBody)
    expect(bodiless.map(({ name }) => name).toSorted()).toEqual(Object.keys(paths).toSorted())
    for (const { name, method } of bodiless) {
      const who = name.includes('/operator/') ? operator : author
      const send = (options: RequestOptions, expected: [number, string]) =>
        refused(who, [method, paths[name]!(), options], expected)
      const { errors } = await send({ json: { dryRun: true } }, [422, 'INVALID'])
      expect(errors, name).toMatchObject([{ pointer: '/dryRun' }])
      await send({ json: [] }, [422, 'INVALID'])
      await send({ body: '{', headers: JSON_TYPE }, [400, 'MALFORMED_JSON'])
      await send({ body: '{}', headers: { 'content-type': 'text/plain' } }, [415, 'WRONG_CONTENT_TYPE'])
      await send({ json: 'a'.repeat(BODY_BYTES_MAX) }, [413, 'BODY_TOO_LARGE'])
    }
  })
})

describe('a malformed path', () => {
  /** Parts of a path that are not an id. Some resemble this id. */
  const strange = (id = sessionId) =>
    [
      ...[
        'x',
        'null',
        '0',
        '-1',
        '%20',
        '%00',
        'a%00b',
        '%0a',
        '%',
        '%zz',
        '%F0%9F%91%A9',
        '🦩',
        '‮',
        'constructor',
        '__proto__',
      ],
      ...[
        "'%20OR%201=1--",
        '%22',
        '%3Cscript%3E',
        '..%2f..%2f',
        'a'.repeat(5_000),
        id.toUpperCase(),
        `${id}0`,
        id.slice(1),
      ],
      ...[id.replace(/^..../, '00zz'), `${id.slice(0, 4)}8${id.slice(5)}`, `${id.slice(0, 29)}u`, `0000${id.slice(4)}`],
      ...[
        `ffff${id.slice(4)}`,
        `${sessionId.slice(0, 4)}01${'0'.repeat(24)}`,
        `${id}.${'a'.repeat(43)}`,
        `${id}.a.b`,
        '.',
        '..a',
      ],
    ].filter((part) => part !== '.')

  const operators = { headers: { authorization: `Bearer ${OPERATOR_TOKEN}` } }
  const paths: [string, string, string, RequestOptions?][] = [
    ['a session’s id', 'DELETE', '/api/v1/sessions/…'],
    ['a handle', 'GET', '/api/v1/users/…'],
    ['a shard’s id', 'PATCH', '/operator/v1/shards/…', { ...operators, json: { state: 'serving' } }],
    ['a shard’s id', 'DELETE', '/operator/v1/shards/…', operators],
    ['a shard’s id', 'POST', '/operator/v1/shards/…/drain', operators],
    ['a move’s id', 'GET', '/operator/v1/moves/…', operators],
    ['a move’s id', 'POST', '/operator/v1/moves/…/abort', operators],
    ['a move’s id', 'POST', '/operator/v1/moves/…/reverse', operators],
    ['a move’s id', 'POST', '/operator/v1/moves/…/complete', operators],
    ['a move’s id', 'GET', '/operator/v1/moves/…/sides', operators],
    ['a move’s id', 'POST', '/operator/v1/moves/…/resolve', { ...operators, json: { choice: 'retry' } }],
    ['a token', 'POST', '/api/v1/email-verifications/…'],
    ['a token', 'POST', '/api/v1/email-changes/…'],
    ['a token', 'POST', '/api/v1/password-resets/…', { json: { password: 'nine silent herons' } }],
  ]

  test.each(paths)('%s is not found: %s %s', async (_, method, path, options) => {
    await Promise.all(
      strange().map((part) => refused(author, [method, path.replace('…', part), options], [404, 'NOT_FOUND'])),
    )
  })

  /** A noun's route with one part of its path replaced. */
  const named = nounRoutes.filter(({ pattern }) => pattern.includes('/:'))
  const partsFor = (row: NounRoute) =>
    [undefined, ...Object.values(owner.created).filter(isId)].flatMap((id) => {
      const own = pathOf(row, owner)
      return strange(id)
        .map((part) => row.pattern.replace(/:\w+/, part))
        .filter((path) => path !== own)
    })

  test.each(named.filter(({ isApi }) => isApi))(
    'what a noun’s route names is nothing that is there: $route',
    async (row) => {
      const options = bodyOf(row)
      await Promise.all(partsFor(row).map((path) => refused(author, [row.method, path, options], [404, 'NOT_FOUND'])))
    },
  )

  const pages: [string, string, Record<string, string>?][] = [
    ['GET', '/@…'],
    ['GET', '/…'],
    ['POST', '/settings/sessions/…/end', {}],
    ['POST', '/verify-email/…', {}],
  ]

  async function expectNoPage(method: string, path: string, form?: Record<string, string>): Promise<void> {
    const answer = await cookies.request(method, path, form ? { form } : {})
    expect([answer.status, answer.headers.get('content-type')], `${method} ${path.slice(0, 80)}`).toEqual([
      404,
      'text/html; charset=UTF-8',
    ])
    expect(answer.text).toContain(answer.headers.get('x-request-id'))
  }

  test.each(pages)('a browser gets an error page: %s %s', async (method, path, form) => {
    await Promise.all(strange().map((part) => expectNoPage(method, path.replace('…', part), form)))
  })

  test.each(named.filter(({ isApi }) => !isApi))('a browser gets an error page: $route', async (row) => {
    const form = row.method === 'GET' ? undefined : ((row.body?.(0) ?? {}) as Record<string, string>)
    await Promise.all(partsFor(row).map((path) => expectNoPage(row.method, path, form)))
  })

  test('an unknown handle, and an unknown route', async () => {
    await refused(visitor, ['GET', '/api/v1/users/autho%C5%99'], [404, 'NOT_FOUND'])
    await refused(visitor, ['GET', '/api/v1/users/nobody_here'], [404, 'NOT_FOUND'])
    await refused(visitor, ['GET', '/api/v1/users/nobody_here/nothing'], [404, 'NOT_FOUND'])
    for (const path of [
      '/api',
      '/api/',
      '/api/v1',
      '/api/v1/nothing',
      '/api/v2/me',
      '/nothing',
      '//',
      '/api/v1/users/',
      '/api/v1/users/author/x/y',
    ])
      await refused(visitor, ['GET', path], [404, 'NOT_FOUND'])
    for (const [method, path] of [
      ['PUT', '/api/v1/me'],
      ['DELETE', '/api/v1/accounts'],
      ['POST', '/api/v1/me'],
      ['GET', '/api/v1/password-resets'],
      ['OPTIONS', '/api/v1/me'],
      ['PURGE', '/api/v1/me'],
      ['POST', '/healthz'],
    ])
      await refused(author, [method!, path!], [404, 'NOT_FOUND'])
  })
})

describe('bytes that are not UTF-8, outside of a JSON body', () => {
  const wrong = Object.values(notUtf8).map(escaped)

  test('in a query or a path are refused, for every route', async () => {
    const queries = ['/api/v1/users/author?x=', '/operator/v1/moves?cursor=', '/operator/v1/moves?limit=']
    for (const bytes of wrong) {
      for (const path of queries) await refused(operator, ['GET', path + bytes], [400, 'MALFORMED_UTF8'])
      for (const path of ['/api/v1/users/', '/api/v1/users/caf', '/nothing/', '/operator/v1/moves/'])
        await refused(operator, ['GET', path + bytes], [400, 'MALFORMED_UTF8'])
      await refused(visitor, ['POST', `/api/v1/email-verifications/${bytes}`], [400, 'MALFORMED_UTF8'])
      await refused(author, ['DELETE', `/api/v1/sessions/${sessionId}${bytes}`], [400, 'MALFORMED_UTF8'])
      await refused(visitor, ['GET', `/operator/v1/moves/${bytes}`], [401, 'OPERATOR_TOKEN_REQUIRED'])
    }
    await refused(visitor, ['GET', '/api/v1/users/%E0%A4%A'], [400, 'MALFORMED_UTF8'])
    await refused(visitor, ['GET', '/api/v1/users/autho%C5%99?x=%E2%82%AC&y=%'], [404, 'NOT_FOUND'])
  })

  test('in a header that Banyan reads are refused, and so are escapes in its cookies', async () => {
    const names = ['authorization', 'cookie', 'idempotency-key', 'user-agent', 'x-causal-token', 'origin']
    for (const bytes of Object.values(notUtf8)) {
      for (const name of names) {
        const sent = { json: { bio: 'Whose?' }, headers: { [name]: `Bearer ${author.token}${bytes}` } }
        await refused(author, ['PATCH', '/api/v1/me', sent], [400, 'MALFORMED_UTF8'])
      }
      const token = { headers: { authorization: `Bearer ${OPERATOR_TOKEN}${bytes}` } }
      await refused(visitor, ['GET', '/operator/v1/shards', token], [400, 'MALFORMED_UTF8'])
      for (const name of ['session', 'stamp', 'causal']) {
        const cookie = `a=b; __Host-${name}=x${escaped(bytes)}; c=d`
        await refused(visitor, ['GET', '/api/v1/me', { headers: { cookie } }], [400, 'MALFORMED_UTF8'])
      }
    }
    const others = { cookie: `legacy=caf%E9; __Host-session=${author.token}`, 'x-other': 'caf\xe9' }
    expect((await visitor.get('/api/v1/me', { headers: others })).status).toBe(200)
    const cafe = await beetle()
    const { items } = (await cafe.get('/api/v1/sessions')).json<{ items: { userAgent: string; current: boolean }[] }>()
    expect(items.find(({ current }) => current)!.userAgent).toBe('Käfer 🌳/1')
    expect((await cafe.request('DELETE', '/api/v1/sessions/current')).status).toBe(204)
  })

  test('in a form are refused in every field, raw and escaped', async () => {
    const forms: [string, string][] = [
      ['/signup', 'email=new@example.com&handle=new_one&password=seven+quiet+herons&displayName=New'],
      ['/login', `login=author&password=${PASSWORD}`],
      ...nounRoutes.flatMap((row): [string, string][] => {
        const isForm = !row.isApi && row.body !== undefined
        return isForm ? [[pathOf(row, owner), `${new URLSearchParams(row.body?.(0) as Record<string, string>)}`]] : []
      }),
      ['/settings/profile', 'displayName=A&bio=B'],
      ['/settings/handle', 'handle=author'],
      ['/settings/notices', 'newLogIn=on'],
      ['/settings/email', `email=new@example.com&password=${PASSWORD}`],
      ['/settings/password', `current=${PASSWORD}&next=nine+silent+herons`],
      ['/forgot-password', 'email=author@example.com'],
      [`/reset-password/${sessionId}.${'a'.repeat(43)}`, 'password=nine+silent+herons'],
      ['/logout', 'unread='],
    ]
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const isRefused = async (path: string, body: string) => {
      const answer = await cookies.request('POST', path, { body: bytesOf(body), headers })
      const type = answer.headers.get('content-type')
      expect([answer.status, type], `${path} ${body}`).toEqual([400, 'text/html; charset=UTF-8'])
      expect(answer.text).toContain('UTF-8')
    }
    for (const [path, form] of forms)
      for (const bytes of Object.values(notUtf8).flatMap((raw) => [raw, escaped(raw)])) {
        const bodies = [`${form}${bytes}`, form.replace('=', `=${bytes}`), `${bytes}${form}`, `${form}&${bytes}=x`]
        await Promise.all(bodies.map((body) => isRefused(path, body)))
      }
  })

  test('a form of another type is refused, because its contents would be misread', async () => {
    const form = new FormData()
    form.set('text', 'Altered')
    const multipart = new Response(form)
    const types = { [multipart.headers.get('content-type')!]: await multipart.text(), 'text/plain': 'text=Altered' }
    for (const [type, body] of Object.entries(types))
      for (const path of ['/settings/profile', '/login'])
        expect((await cookies.request('POST', path, { body, headers: { 'content-type': type } })).status).toBe(415)
  })

  test('the runtime refuses an address with such bytes unescaped', async () => {
    for (const path of ['/api/v1/users/caf\xe9', '/api/v1/users/author?x=\xff']) {
      const socket = connect(Number(stack.url.port), stack.url.hostname.replace(/^\[|\]$/g, ''))
      socket.end(bytesOf(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`))
      const [first] = (await once(socket, 'data')) as [Buffer]
      expect(first.toString('latin1')).toMatch(/^HTTP\/1\.1 400 /)
      socket.destroy()
    }
  })
})

test('a limit is a number in plain decimal digits', async () => {
  const odd = [
    '0x10',
    '1e1',
    ' 1',
    '1 ',
    '+1',
    '-1',
    '01',
    '1.0',
    '1_0',
    '0',
    '101',
    '',
    '١',
    '9'.repeat(400),
    'Infinity',
  ]
  const paged = nounRoutes.filter(({ isPaged }) => isPaged).map((row) => pathOf(row, owner))
  for (const path of [...paged, '/operator/v1/moves']) {
    for (const limit of odd) {
      const { errors } = await refused(
        operator,
        ['GET', `${path}?limit=${encodeURIComponent(limit)}`],
        [422, 'INVALID'],
      )
      expect(errors, limit).toMatchObject([{ pointer: '/limit' }])
    }
    await refused(operator, ['GET', `${path}?limit=1&limit=2`], [422, 'INVALID'])
    for (const limit of ['1', '10', '100']) expect((await operator.get(`${path}?limit=${limit}`)).status).toBe(200)
  }
  const document = (await visitor.get('/api/openapi.json')).json<Record<string, never>>()
  expect(JSON.stringify(document)).toContain(
    '{"schema":{"type":"integer","minimum":1,"maximum":100,"default":20},"required":false,"name":"limit","in":"query"}',
  )
})

describe('permissions', () => {
  const signedInRoutes = (): [string, string, RequestOptions?][] => [
    ['GET', '/api/v1/sessions'],
    ['DELETE', '/api/v1/sessions'],
    ['DELETE', '/api/v1/sessions/current'],
    ['DELETE', `/api/v1/sessions/${sessionId}`],
    ['POST', '/api/v1/email-verifications'],
    ['PUT', '/api/v1/me/password', { json: { current: PASSWORD, next: 'nine silent herons' } }],
    ['PUT', '/api/v1/me/handle', { json: { handle: 'not_mine' } }],
    ['PUT', '/api/v1/me/email', { json: { email: 'new@example.com', password: PASSWORD } }],
    ['GET', '/api/v1/me'],
    ['PATCH', '/api/v1/me', { json: { bio: 'not mine' } }],
    ...apiRoutes
      .filter(({ isSignedIn }) => isSignedIn)
      .map((row): [string, string, RequestOptions?] => [row.method, pathOf(row, owner), bodyOf(row)]),
  ]

  test('the routes here are those that need a session in the document', () => {
    const secured = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.entries(operations)
        .filter(([, operation]) =>
          JSON.stringify((operation as { security?: unknown }).security ?? '').includes('session'),
        )
        .map(([method]) => `${method.toUpperCase()} ${path}`),
    )
    const here = signedInRoutes().map(([method, path]) => routeOf(document, method, path)!.name)
    expect([...new Set(here)].toSorted()).toEqual(secured.toSorted())
  })

  test('no token, a malformed token, and a token combined from two are refused', async () => {
    const [userId, session, secret] = author.token!.split('.') as [string, string, string]
    const [otherId, otherSession] = other.token!.split('.') as [string, string, string]
    const tokens = [
      ...[
        'x',
        '..',
        '...',
        'a'.repeat(5_000),
        `${userId}.${session}`,
        `${userId}.${session}.${secret}.x`,
        `${userId}.${session}.`,
      ],
      ...[
        `${userId}.${session}.${secret.slice(1)}A`,
        `${otherId}.${session}.${secret}`,
        `${userId}.${otherSession}.${secret}`,
      ],
      ...[`${otherId}.${otherSession}.${secret}`, `ffff${userId.slice(4)}.ffff${session.slice(4)}.${secret}`],
    ]
    const headers = [
      '',
      'Bearer',
      'Bearer ',
      'Basic YTpi',
      secret,
      `Bearer ${secret} x`,
      ...tokens.map((token) => `Bearer ${token}`),
    ]
    for (const [method, path, options] of signedInRoutes()) {
      await refused(visitor, [method, path, options], [401, 'NOT_SIGNED_IN'])
      const tries = headers.map((authorization) => ({ ...options, headers: { authorization } }))
      await Promise.all(tries.map((one) => refused(visitor, [method, path, one], [401, 'NOT_SIGNED_IN'])))
    }
    for (const token of tokens)
      await refused(
        visitor,
        ['GET', '/api/v1/me', { headers: { cookie: `__Host-session=${token}` } }],
        [401, 'NOT_SIGNED_IN'],
      )
  })

  test('a write with a cookie must name this origin, and a log-in from another origin is refused', async () => {
    const session = `__Host-session=${cookies.cookies.get('__Host-session')}`
    const elsewhere: Record<string, string>[] = [
      { origin: 'https://elsewhere.example' },
      { origin: 'null' },
      { origin: `${stack.url.origin}.elsewhere.example` },
      { origin: stack.url.origin.replace(/:\d+$/, '') },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      {},
      { origin: 'https://elsewhere.example', authorization: 'Basic YTpi' },
    ]
    for (const [method, path, options] of signedInRoutes().filter(([method]) => method !== 'GET'))
      for (const from of elsewhere)
        await refused(
          stack.bearer(),
          [method, path, { ...options, headers: { cookie: session, ...from } }],
          [403, 'WRONG_ORIGIN'],
        )
    const logIn = { json: { login: 'author', password: PASSWORD }, headers: { origin: 'https://elsewhere.example' } }
    await refused(visitor, ['POST', '/api/v1/sessions', logIn], [403, 'WRONG_ORIGIN'])
  })

  test('only operators may send the larger bodies of imports', async () => {
    const body = '"'.padEnd(BODY_BYTES_MAX, 'a').concat('"')
    const strangers = [{ body, headers: JSON_TYPE }, { body: '{', headers: JSON_TYPE }, { body: 'x' }]
    for (const sent of strangers)
      await refused(visitor, ['POST', '/operator/v1/imports', sent], [401, 'OPERATOR_TOKEN_REQUIRED'])
    await refused(operator, ['POST', '/operator/v1/imports', { body, headers: JSON_TYPE }], [422, 'INVALID'])
  })

  test('an import without users, with too many, or with unknown fields is refused completely', async () => {
    const user = { externalId: '1', email: 'old@example.com', handle: 'old_one' }
    for (const [users, pointer] of [
      [[], '/users'],
      [Array(201).fill(user), '/users'],
      [[user, { ...user, role: 'admin' }], '/users/1/role'],
      [[{ ...user, email: 1 }], '/users/0/email'],
      [[{ ...user, createdAt: null }], '/users/0/createdAt'],
      [['1'], '/users/0'],
    ] as const)
      for (const path of ['/operator/v1/imports', '/operator/v1/imports/verifications']) {
        const { errors } = await refused(operator, ['POST', path, { json: { source: 'old', users } }], [422, 'INVALID'])
        expect(errors).toMatchObject([{ pointer }])
      }
  })

  test('operators have a token of their own', async () => {
    const tokens = [
      '',
      'Bearer',
      'Bearer x',
      `Bearer ${OPERATOR_TOKEN}x`,
      `Basic ${OPERATOR_TOKEN}`,
      `Bearer ${author.token}`,
    ]
    for (const authorization of tokens)
      await refused(
        visitor,
        ['GET', '/operator/v1/shards', { headers: { authorization } }],
        [401, 'OPERATOR_TOKEN_REQUIRED'],
      )
    await refused(visitor, ['GET', '/operator/v1/nothing'], [401, 'OPERATOR_TOKEN_REQUIRED'])
    const operator = { headers: { authorization: `Bearer ${OPERATOR_TOKEN}` } }
    await refused(visitor, ['GET', '/operator/v1/nothing', operator], [404, 'NOT_FOUND'])
    await refused(visitor, ['GET', '/api/v1/me', operator], [401, 'NOT_SIGNED_IN'])
  })

  test('an Idempotency-Key is text of bounded length', async () => {
    for (const key of ['', 'a'.repeat(201), bytesOf('\xc3\xbc').toString('latin1'), 'a\tb'])
      for (const [method, path, options] of [
        ...apiRoutes.filter(({ takesKey }) => takesKey).map((row) => [row.method, pathOf(row, owner), bodyOf(row)]),
        ['POST', '/api/v1/accounts', { json: someone }],
        ['POST', '/api/v1/sessions', { json: { login: 'author', password: PASSWORD } }],
        ['POST', '/api/v1/password-resets', { json: { email: 'author@example.com' } }],
        ['POST', '/api/v1/email-verifications', {}],
        ['POST', `/api/v1/email-verifications/${sessionId}.${'a'.repeat(43)}`, {}],
      ] as [string, string, RequestOptions][]) {
        const { errors } = await refused(
          author,
          [method, path, { ...options, headers: { 'idempotency-key': key } }],
          [422, 'INVALID'],
        )
        expect(errors).toMatchObject([{ pointer: '/Idempotency-Key' }])
      }
  })
})

describe('a browser gets a page', () => {
  const expectPage = (answer: Answer, status: number, words: string) => {
    expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'text/html; charset=UTF-8'])
    expect(answer.text).toContain(words)
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'")
  }

  test('for an unknown address, and for a request that is refused', async () => {
    expectPage(await cookies.get('/nothing'), 404, 'Not found')
    expectPage(await cookies.get('/@nobody_here'), 404, 'No user has this handle')
    const evil = { form: {}, headers: { origin: 'https://elsewhere.example' } }
    expectPage(await cookies.request('POST', '/logout', evil), 403, 'another site')
    const profile = { displayName: 'A', bio: 'a'.repeat(BODY_BYTES_MAX) }
    expectPage(await cookies.submit('/settings/profile', profile), 413, 'too large')
    expectPage(await stack.browser().submit('/settings/profile', { displayName: 'Whose?' }), 401, 'Sign in')
  })

  test('an invalid form is shown again with the submitted values', async () => {
    const typed = { email: 'not an address', handle: 'B d', password: 'short', displayName: '"><b>' }
    const page = await stack.browser().submit('/signup', typed)
    expectPage(page, 422, 'This is not an e-mail address.')
    expect(page.text).toContain('value="B d"')
    expect(page.text).toContain('value="&quot;&gt;&lt;b&gt;"')
    expect(page.text).not.toContain('value="short"')
    expectPage(await stack.browser().submit('/login', { login: 'author', password: 'not this one' }), 401, 'is wrong')
    expectPage(await cookies.submit('/settings/profile', { displayName: '', bio: 'typed' }), 422, 'A display name has')
    expectPage(
      await cookies.submit('/settings/password', { current: 'not this one', next: 'nine silent herons' }),
      422,
      'is wrong',
    )
    expectPage(await cookies.submit('/settings/handle', { handle: 'B d' }), 422, 'A handle has 3 to 30 characters')
    const newAddress = { email: 'new@example.com', password: 'not this one' }
    expectPage(await cookies.submit('/settings/email', newAddress), 422, 'The current password is wrong.')
    expectPage(await cookies.submit('/settings/email', { ...newAddress, email: 'x' }), 422, 'This is not an e-mail')
    expectPage(await stack.browser().submit('/forgot-password', { email: 'x' }), 422, 'This is not an e-mail address.')
    expectPage(await stack.browser().submit('/reset-password/x', { password: 'short' }), 422, 'at least 10 characters')
  })
})

test('nothing of all this was written, except the counted attempts at passwords', async () => {
  await outboxesDrained(stack)
  const withoutAttempts = (counts: Record<string, number>) =>
    Object.entries(counts).filter(([table]) => !table.endsWith('.password_attempts'))
  expect(withoutAttempts(await rowCounts(stack))).toEqual(withoutAttempts(rowsBefore))
  expect(await shown()).toEqual(shownBefore)
  expect((await author.get('/api/v1/me')).json()).toMatchObject({ user: { displayName: 'author', bio: '' } })
})

test('input just within the limits is accepted, and returned unchanged', async () => {
  const label = 'b'.repeat(61)
  const longest = { email: `${'a'.repeat(64)}@${label}.${label}.${label}.de`, handle: 'a'.repeat(30) }
  expect(longest.email).toHaveLength(253)
  const people = [
    { ...longest, password: '🦩🌳'.repeat(100), displayName: '👩'.repeat(50) },
    { email: 'a@b.de', handle: 'abc', password: 'ten chars!', displayName: 'A' },
  ]
  for (const person of people) {
    const answer = await stack.bearer().post('/api/v1/accounts', person)
    expect(answer.status, answer.text).toBe(201)
    expect(answer.json()).toMatchObject({ user: { handle: person.handle, displayName: person.displayName } })
    const { handle: login, password } = person
    expect((await stack.bearer().post('/api/v1/sessions', { login, password })).status).toBe(201)
  }
  const bio = '👩'.repeat(300)
  expect((await author.request('PATCH', '/api/v1/me', { json: { bio } })).json()).toMatchObject({ user: { bio } })
})
