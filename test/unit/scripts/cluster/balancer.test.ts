import { once } from 'node:events'
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type RequestOptions,
  type Server,
} from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { afterEach, expect, test, vi } from 'vitest'
import { Balancer, type BalancerOptions, type Upstream } from '../../../../scripts/cluster/balancer.ts'
import { freePort } from '../../../../scripts/free-port.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()))
})

/** A web server that passes its checks and answers requests with `listener`. */
async function serverOf(name: string, listener: RequestListener): Promise<Upstream> {
  const server: Server = createServer((request, response) => {
    if (request.url === '/healthz') response.end('ok\n')
    else listener(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  ends.push(async () => {
    server.closeAllConnections()
    server.close()
  })
  return upstreamOf(name, server)
}

const upstreamOf = (name: string, server: Server) => ({
  name,
  address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
  headers: { 'x-cluster-key': 'a key' },
})

/** A balancer with all of these servers in its rotation. */
async function balancerOf(upstreams: Upstream[], options: Partial<BalancerOptions> = {}) {
  const changes: string[] = []
  const all: BalancerOptions = {
    rule: { fall: 2, rise: 1 },
    checkEveryMs: 20,
    checkMs: 2_000,
    answerMs: 5_000,
    onChange: (name, change) => changes.push(`${name} ${change}`),
    ...options,
  }
  const balancer = new Balancer(all)
  ends.push(() => balancer.close())
  for (const upstream of upstreams) balancer.add(upstream)
  const port = await balancer.listen(0)
  await balancer.ready(5_000)
  changes.length = 0
  return { balancer, changes, origin: `http://127.0.0.1:${port}`, port }
}

const echo: RequestListener = async (request, response) => {
  const { method, url, headers } = request
  response.end(JSON.stringify({ method, url, headers, body: await text(request) }))
}
/** Takes the request and never answers. */
const frozen: RequestListener = () => undefined
/** The address of a server that refuses connections. */
const refused = async () => ({ host: '127.0.0.1', port: await freePort() })

/** The address of a server whose queue of connections is full, so that a new one is neither opened nor refused. */
async function unconnectable() {
  const code = `
    const { parentPort } = require('node:worker_threads')
    const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      parentPort.postMessage(server.address().port)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })`
  const worker = new Worker(code, { eval: true })
  const [port] = (await once(worker, 'message')) as [number]
  const queued: Socket[] = []
  ends.push(async () => {
    for (const socket of queued) socket.destroy()
    await worker.terminate()
  })
  // Systems differ in how much longer the queue is than asked for.
  for (let isFull = false; !isFull; ) {
    const socket = connect(port, '127.0.0.1')
    queued.push(socket)
    isFull = await Promise.race([once(socket, 'connect').then(() => false), sleep(300, true)])
  }
  return { host: '127.0.0.1', port }
}

/** Sends a request and resolves at the head of its answer. */
async function sent(port: number, options: RequestOptions, body?: string): Promise<IncomingMessage> {
  const request = httpRequest({ host: '127.0.0.1', port, ...options }).end(body)
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  return answer
}

test('requests go to the servers in turn, unchanged, with the address of the client', async () => {
  const { balancer, origin, port } = await balancerOf([await serverOf('a', echo), await serverOf('b', echo)])
  const servedBy: (string | null)[] = []
  for (let number = 0; number < 6; number++) servedBy.push((await fetch(`${origin}/`)).headers.get('x-served-by'))
  expect(servedBy).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
  expect(balancer.status().map(({ requests }) => requests)).toEqual([3, 3])

  const answer = await sent(
    port,
    {
      method: 'PUT',
      path: '/a%20b?c=%2F',
      headers: {
        host: 'example.com:1',
        cookie: 'a=1; b=2',
        'x-forwarded-for': '203.0.113.9',
        'cf-connecting-ip': '203.0.113.9',
        'x-cluster-key': 'forged',
        connection: 'keep-alive, x-only-here',
        'x-only-here': '1',
        'idempotency-key': 'k',
      },
    },
    'ä body',
  )
  const { headers, ...rest } = JSON.parse(await text(answer)) as { headers: Record<string, string> }
  expect(rest).toEqual({ method: 'PUT', url: '/a%20b?c=%2F', body: 'ä body' })
  expect(headers).toEqual({
    host: 'example.com:1',
    cookie: 'a=1; b=2',
    'x-forwarded-for': '203.0.113.9, 127.0.0.1',
    'cf-connecting-ip': '127.0.0.1',
    'x-cluster-key': 'a key',
    connection: 'keep-alive',
    'content-length': '7',
    'idempotency-key': 'k',
  })
})

test('an answer arrives with its status, its repeated headers and its body, and HEAD has no body', async () => {
  const { port } = await balancerOf([
    await serverOf('a', (_, response) => {
      response.writeHead(207, ['set-cookie', 'a=1', 'set-cookie', 'b=2', 'content-length', '2'])
      response.end('ok')
    }),
  ])
  const answer = await sent(port, { method: 'GET' })
  expect([answer.statusCode, answer.headers['set-cookie'], await text(answer)]).toEqual([207, ['a=1', 'b=2'], 'ok'])
  const head = await sent(port, { method: 'HEAD' })
  expect([head.statusCode, head.headers['content-length'], await text(head)]).toEqual([207, '2', ''])
})

test('bodies stream both ways: the first part of an answer arrives before the last part of the request', async () => {
  const { port } = await balancerOf([
    await serverOf('a', (request, response) => {
      request.pipe(response)
    }),
  ])
  const request = httpRequest({ host: '127.0.0.1', port, method: 'POST' })
  request.write('first')
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  const [part] = (await once(answer, 'data')) as [Buffer]
  expect(String(part)).toBe('first')
  request.end('last')
  expect(await text(answer)).toBe('last')
})

test('a server freezes: a GET that waits for it is answered by another, a POST gets 504 and is sent once', async () => {
  let posts = 0
  const count: RequestListener = (request, response) => {
    if (request.method === 'POST') posts++
    response.end('b')
  }
  let isFrozen = false
  const bad = createServer((request, response) => {
    if (request.method === 'POST') posts++
    if (!isFrozen && request.url === '/healthz') response.end('ok\n')
  }).listen(0, '127.0.0.1')
  await once(bad, 'listening')
  ends.push(async () => bad.closeAllConnections())
  const { origin, changes } = await balancerOf([upstreamOf('a', bad), await serverOf('b', count)], { checkMs: 150 })
  isFrozen = true
  // Each server gets one of two requests at once.
  const gets = await Promise.all([fetch(origin), fetch(origin)])
  expect(gets.map(({ status, headers }) => [status, headers.get('x-served-by')])).toEqual([
    [200, 'b'],
    [200, 'b'],
  ])
  expect(changes).toEqual(['a out'])

  isFrozen = false
  await vi.waitFor(() => expect(changes).toEqual(['a out', 'a back']))
  isFrozen = true
  const answers = await Promise.all([
    fetch(origin, { method: 'POST', body: 'x' }),
    fetch(origin, { method: 'POST', body: 'x' }),
  ])
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 504])
  expect(posts).toBe(2)
  const lost = answers.find(({ status }) => status === 504)!
  expect(Object.fromEntries(lost.headers)).toMatchObject({
    'retry-after': '1',
    'cache-control': 'no-store',
    'content-type': 'text/plain; charset=utf-8',
  })
  expect(await lost.text()).toBe(
    'a stopped answering. Send the request again. A POST needs the same Idempotency-Key, so that it has one effect.\n',
  )
})

test('a server that answers its checks and no requests leaves the rotation at the time limit of its requests', async () => {
  const servers = [await serverOf('a', frozen), await serverOf('b', echo)]
  const { origin, changes } = await balancerOf(servers, { answerMs: 100, checkEveryMs: 60_000 })
  const answers = await Promise.all(Array.from({ length: 4 }, () => fetch(origin, { method: 'POST', body: 'x' })))
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 504, 504])
  expect(changes).toEqual(['a out'])
  expect((await fetch(origin, { method: 'POST' })).headers.get('x-served-by')).toBe('b')
})

test('a POST to a server that refuses connections goes to another server, with its whole body, once', async () => {
  const bodies: string[] = []
  const keep: RequestListener = async (request, response) => {
    bodies.push(await text(request))
    response.end()
  }
  const moved = { ...(await serverOf('a', keep)) }
  const { origin, changes } = await balancerOf([moved, await serverOf('b', keep)], { checkEveryMs: 60_000 })
  moved.address = await refused()
  const body = 'x'.repeat(300_000)
  for (const tries of [1, 2, 3, 4]) {
    const answer = await fetch(origin, { method: 'POST', body })
    expect([tries, answer.status, answer.headers.get('x-served-by')]).toEqual([tries, 200, 'b'])
  }
  expect(bodies.map((one) => one.length)).toEqual([300_000, 300_000, 300_000, 300_000])
  expect(changes).toEqual(['a out'])
})

test('a POST whose connection breaks gets 502 and is not sent again, and a GET is', async () => {
  const requests: string[] = []
  const breaks: RequestListener = (request) => {
    requests.push(request.method!)
    request.socket.destroy()
  }
  const { origin } = await balancerOf([await serverOf('a', breaks), await serverOf('b', breaks)], {
    checkEveryMs: 60_000,
    rule: { fall: 100, rise: 1 },
  })
  const post = await fetch(origin, { method: 'POST', body: 'x' })
  expect([post.status, requests]).toEqual([502, ['POST']])
  const get = await fetch(origin)
  expect([get.status, requests]).toEqual([502, ['POST', 'GET', 'GET']])
})

test('all servers are down: the answer is 502 with the reason', async () => {
  const gone = { name: 'a', address: await refused(), headers: {} }
  const balancer = new Balancer({
    rule: { fall: 2, rise: 1 },
    checkEveryMs: 20,
    checkMs: 1_000,
    answerMs: 1_000,
    onChange: () => undefined,
  })
  ends.push(() => balancer.close())
  const port = await balancer.listen(0)
  const none = await fetch(`http://127.0.0.1:${port}/`)
  expect([none.status, await none.text()]).toEqual([502, expect.stringMatching(/^There is no web server\. /)])
  balancer.add(gone)
  const down = await fetch(`http://127.0.0.1:${port}/`)
  expect([down.status, await down.text()]).toEqual([502, expect.stringMatching(/^a: ECONNREFUSED\. /)])
})

test('a server that breaks in the middle of an answer breaks the answer of the client, too', async () => {
  const { origin } = await balancerOf([
    await serverOf('a', (request, response) => {
      response.write('half of ')
      setTimeout(() => request.socket.destroy(), 20)
    }),
  ])
  const answer = await fetch(origin)
  expect(answer.status).toBe(200)
  await expect(answer.text()).rejects.toThrow()
})

test('a server freezes in the middle of an answer and leaves the rotation: the answer of the client breaks', async () => {
  let isFrozen = false
  const bad = createServer((request, response) => {
    if (request.url !== '/healthz') response.write('half of ')
    else if (!isFrozen) response.end('ok\n')
  }).listen(0, '127.0.0.1')
  await once(bad, 'listening')
  ends.push(async () => bad.closeAllConnections())
  const { changes, port } = await balancerOf([upstreamOf('a', bad), await serverOf('b', echo)], { checkMs: 150 })
  const answer = await sent(port, { method: 'GET' })
  expect(answer.headers['x-served-by']).toBe('a')
  isFrozen = true
  await expect(text(answer)).rejects.toMatchObject({ code: 'ECONNRESET' })
  expect(changes).toEqual(['a out'])
})

test('a server that stops taking an upload loses it at the time limit, and a client that pauses does not', async () => {
  const reads: RequestListener = (request, response) => (request.method === 'PUT' ? echo : frozen)(request, response)
  const { port } = await balancerOf([await serverOf('a', reads)], { answerMs: 250 })
  const paused = httpRequest({ host: '127.0.0.1', port, method: 'PUT' })
  paused.write('first ')
  // More than the buffers of both connections hold, so the balancer never has the whole request.
  const stalled = await sent(port, { method: 'POST' }, 'x'.repeat(30_000_000))
  expect([stalled.statusCode, await text(stalled)]).toEqual([
    504,
    expect.stringMatching(/^a did not take the request within 250 ms\. /),
  ])
  await sleep(250)
  paused.end('last')
  const [answer] = (await once(paused, 'response')) as [IncomingMessage]
  expect(JSON.parse(await text(answer))).toMatchObject({ body: 'first last' })
})

test.each([
  ['the time limit', { answerMs: 250, checkEveryMs: 60_000 }],
  ['a failed check', { checkMs: 150 }],
])('a POST that waits for its connection until %s goes to another server, once', async (_, options) => {
  const bodies: string[] = []
  const keep: RequestListener = async (request, response) => {
    bodies.push(await text(request))
    response.end()
  }
  const moved = { ...(await serverOf('a', keep)) }
  const { balancer, origin } = await balancerOf([moved, await serverOf('b', keep)], options)
  moved.address = await unconnectable()
  const answer = await fetch(origin, { method: 'POST', body: 'x' })
  expect([answer.status, answer.headers.get('x-served-by'), bodies]).toEqual([200, 'b', ['x']])
  expect(balancer.status().map(({ requests }) => requests)).toEqual([1, 1])
})

test('a client that leaves ends its request at the server, and counts as no failure', async () => {
  const left = Promise.withResolvers<void>()
  const servers = [await serverOf('a', (_, response) => void response.on('close', () => left.resolve()))]
  const { origin, balancer, changes } = await balancerOf(servers, { rule: { fall: 1, rise: 1 } })
  await expect(fetch(origin, { signal: AbortSignal.timeout(50) })).rejects.toThrow()
  await left.promise
  await vi.waitFor(() => expect(balancer.status()).toEqual([{ name: 'a', isIn: true, requests: 1, waiting: 0 }]))
  expect(changes).toEqual([])
})

const refuses: RequestListener = (_, response) => void response.writeHead(413).end('too large')
const breaks: RequestListener = (request) => void request.socket.destroy()

test.each([
  ['an early answer', refuses, 413],
  ['a broken connection', breaks, 502],
] as const)('%s while a large body is sent leaves the client’s connection usable', async (_, listener, status) => {
  const { port } = await balancerOf([await serverOf('a', listener)])
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  ends.push(async () => agent.destroy())
  for (const number of [1, 2, 3]) {
    const answer = await sent(port, { method: 'POST', agent }, 'x'.repeat(2_000_000))
    expect([number, answer.statusCode]).toEqual([number, status])
    await text(answer)
  }
})

test('a port in use is refused', async () => {
  const { port } = await balancerOf([await serverOf('a', echo)])
  const other = new Balancer({
    rule: { fall: 1, rise: 1 },
    checkEveryMs: 1_000,
    checkMs: 1_000,
    answerMs: 1_000,
    onChange: () => undefined,
  })
  await expect(other.listen(port)).rejects.toMatchObject({ code: 'EADDRINUSE' })
  await other.close()
})
