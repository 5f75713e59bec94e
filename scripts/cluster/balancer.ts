import { once } from 'node:events'
import {
  type ClientRequest,
  createServer,
  get,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  request as send,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { HealthChecks } from './health-checks.ts'
import type { Address } from './instance.ts'
import { type Change, type HealthRule, Rotation } from './rotation.ts'

export interface Upstream {
  name: string
  /** Where it listens now. */
  readonly address: Address
  /** Added to each request that it gets. */
  readonly headers: Record<string, string>
}

export interface BalancerOptions {
  rule: HealthRule
  /** The pause between two health checks of a server. */
  checkEveryMs: number
  /** A check without an answer after this time has failed. */
  checkMs: number
  /**
   * A server must start its answer within this time after it has the whole request. Before that, it must not let the
   * balancer wait longer than this to connect or to send more of the body.
   */
  answerMs: number
  onChange(name: string, change: Change): void
}

/** The usual times: a server that stops answering leaves the rotation within 4 s. */
export const usualTimes = {
  rule: { fall: 2, rise: 2 },
  checkEveryMs: 500,
  checkMs: 1_500,
  // The application's own limit is 15 s.
  answerMs: 20_000,
}

export interface UpstreamStatus {
  name: string
  isIn: boolean
  /** The number of requests sent to it. */
  requests: number
  /** The number of requests that wait for their answers. */
  waiting: number
}

/** A request that a server did not answer. */
interface Lost {
  status: 502 | 504
  reason: string
  /** True if the server may have executed the request. */
  mayBeApplied: boolean
}

interface Member {
  upstream: Upstream
  requests: number
  /** Each of them ends a request that waits for an answer. */
  waiting: Set<() => void>
  /** The answers that have begun and not yet ended. */
  answers: Set<IncomingMessage>
}

const READY_POLL_MS = 20
const RETRY_AFTER_SECONDS = '1'
const ENDS_HERE = /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect)$/
const SET_HERE = /^(x-forwarded-for|cf-connecting-ip|x-cluster-.*)$/

/**
 * A round-robin balancer for HTTP. It checks each server's `/healthz`, and takes a server out of the rotation if it
 * fails checks or requests. Then all requests that wait for this server end at once. A request that certainly had no
 * effect is sent to another server; any other gets 502 or 504, and the client may send it again. If the server's answer
 * has begun, the connection to the client breaks.
 */
export class Balancer {
  readonly #options: BalancerOptions
  readonly #members = new Map<string, Member>()
  readonly #rotation: Rotation
  readonly #checks: HealthChecks
  readonly #server: Server

  constructor(options: BalancerOptions) {
    this.#options = options
    this.#rotation = new Rotation(options.rule, (name, change) => {
      options.onChange(name, change)
      if (change === 'out') this.#endRequests(name)
    })
    this.#checks = new HealthChecks({
      everyMs: options.checkEveryMs,
      limitMs: options.checkMs,
      check: (name, signal) => answersCheck(this.#member(name).upstream, signal),
      onResult: (name, hasPassed) => (hasPassed ? this.#rotation.checkPassed(name) : this.#rotation.checkFailed(name)),
    })
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  /** Resolves to the port. Rejects with Node's error, for example EADDRINUSE. */
  async listen(port: number, host = '127.0.0.1'): Promise<number> {
    this.#server.listen(port, host)
    await once(this.#server, 'listening')
    return (this.#server.address() as AddressInfo).port
  }

  /** Adds a server. It gets its share of the requests once it has passed its first checks. */
  add(upstream: Upstream): void {
    this.#members.set(upstream.name, { upstream, requests: 0, waiting: new Set(), answers: new Set() })
    this.#rotation.add(upstream.name)
    this.#checks.watch(upstream.name)
  }

  /** Resolves when all servers are in the rotation. Rejects after `limitMs`. */
  async ready(limitMs: number): Promise<void> {
    for (const deadline = Date.now() + limitMs; this.status().some(({ isIn }) => !isIn); await sleep(READY_POLL_MS))
      if (Date.now() > deadline) throw new Error(`a web server did not pass its health checks within ${limitMs} ms`)
  }

  status(): UpstreamStatus[] {
    return [...this.#members.values()].map(({ upstream: { name }, requests, waiting }) => ({
      name,
      isIn: this.#rotation.has(name),
      requests,
      waiting: waiting.size,
    }))
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    this.#checks.stop()
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  #endRequests(name: string): void {
    const { waiting, answers } = this.#member(name)
    for (const end of waiting) end()
    for (const answer of answers) answer.destroy()
  }

  #member(name: string): Member {
    const member = this.#members.get(name)
    if (!member) throw new Error(`no server "${name}"`)
    return member
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const hasBody = 'transfer-encoding' in request.headers || Number(request.headers['content-length'] ?? 0) > 0
    const isSafe = !hasBody && (request.method === 'GET' || request.method === 'HEAD')
    let lost: Lost = { status: 502, reason: 'There is no web server', mayBeApplied: false }
    let name = this.#rotation.next()
    for (let tries = 1; name !== null && tries <= 2; tries++) {
      const outcome = await this.#forward(this.#member(name), request, hasBody, response)
      if (outcome === null) return
      lost = outcome
      if (lost.mayBeApplied && !isSafe) break
      name = this.#rotation.next(name)
    }
    // The connection's next request must not wait for a body that nobody reads.
    request.resume()
    refuse(response, lost)
  }

  /** Resolves to null when an answer has begun or the client has left, otherwise to the reason for no answer. */
  #forward(member: Member, request: IncomingMessage, hasBody: boolean, response: ServerResponse): Promise<Lost | null> {
    const { name, address, headers } = member.upstream
    const { answerMs } = this.#options
    member.requests++
    return new Promise((resolve) => {
      let isConnected = false
      let isOver = false
      let limit: NodeJS.Timeout | undefined
      const sent = send({
        ...address,
        method: request.method,
        path: request.url,
        agent: false,
        setHost: false,
        headers: headersFor(request, headers),
        timeout: answerMs,
      })
      const over = (lost: Lost | null) => {
        if (isOver) return
        isOver = true
        clearTimeout(limit)
        member.waiting.delete(end)
        response.off('close', leave)
        resolve(lost)
      }
      const lose = (lost: Lost) => {
        if (isOver) return
        over(lost)
        request.unpipe(sent)
        sent.destroy()
      }
      const end = () => lose({ status: 504, reason: `${name} stopped answering`, mayBeApplied: isConnected })
      const leave = () => {
        over(null)
        sent.destroy()
      }
      const fail = (lost: Lost) => {
        if (isOver) return
        lose(lost)
        this.#rotation.requestFailed(name)
      }
      member.waiting.add(end)
      response.on('close', leave)
      sent.on('error', (error: NodeJS.ErrnoException) =>
        fail({ status: 502, reason: `${name}: ${error.code ?? error.message}`, mayBeApplied: isConnected }),
      )
      // Without data to send, the balancer waits for the client or for the answer, which has its own limit.
      sent.on('timeout', () => {
        const reason = `${name} did not take the request within ${answerMs} ms`
        if (!isConnected || sent.writableLength > 0) fail({ status: 504, reason, mayBeApplied: isConnected })
      })
      sent.on('finish', () => {
        if (isOver) return
        const reason = `${name} did not answer within ${answerMs} ms`
        limit = setTimeout(() => fail({ status: 504, reason, mayBeApplied: true }), answerMs)
      })
      // A body is sent only over an open connection, so a refused request can be sent to another server.
      whenConnected(sent, () => {
        isConnected = true
        if (hasBody) request.pipe(sent)
        else sent.end()
      })
      sent.on('response', (answer) => {
        over(null)
        this.#rotation.requestAnswered(name)
        response.writeHead(answer.statusCode ?? 502, [...endToEnd(answer.rawHeaders), 'x-served-by', name])
        member.answers.add(answer)
        // If either side breaks, both end, so that a client never takes a part for the whole answer.
        pipeline(answer, response, () => {
          member.answers.delete(answer)
          // If the answer was early, the rest of the body is discarded.
          request.unpipe(sent)
          request.resume()
          sent.destroy()
        })
      })
    })
  }
}

function headersFor(request: IncomingMessage, added: Record<string, string>): string[] {
  const client = request.socket.remoteAddress ?? ''
  const before = request.headers['x-forwarded-for']
  return [
    ...endToEnd(request.rawHeaders, SET_HERE),
    ...('transfer-encoding' in request.headers ? ['transfer-encoding', 'chunked'] : []),
    'x-forwarded-for',
    before === undefined ? client : `${before}, ${client}`,
    'cf-connecting-ip',
    client,
    // Not "close", because then an early answer to a large body ends the connection before the answer is read.
    'connection',
    'keep-alive',
    ...Object.entries(added).flat(),
  ]
}

function answersCheck({ address, headers }: Upstream, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const check = get({ ...address, path: '/healthz', agent: false, headers, signal })
    check.on('error', () => resolve(false))
    check.on('response', (answer) => {
      resolve(answer.statusCode === 200)
      answer.on('error', () => resolve(false)).resume()
    })
  })
}

function whenConnected(request: ClientRequest, then: () => void): void {
  request.once('socket', (socket) => {
    if (socket.connecting) socket.once('connect', then)
    else then()
  })
}

/** Alternating names and values, without the headers that concern only one connection, and without `others`. */
function endToEnd(raw: string[], others = ENDS_HERE): string[] {
  const pairs = raw.flatMap((name, at) =>
    at % 2 === 0 ? [[name.toLowerCase(), name, raw[at + 1] ?? ''] as const] : [],
  )
  const listed = pairs
    .filter(([key]) => key === 'connection')
    .flatMap(([, , value]) => value.split(',').map((name) => name.trim().toLowerCase()))
  const ends = (key: string) => ENDS_HERE.test(key) || others.test(key) || listed.includes(key)
  return pairs.flatMap(([key, name, value]) => (ends(key) ? [] : [name, value]))
}

/** Without a `code`, because a gateway can't say what the application did. */
function refuse(response: ServerResponse, { status, reason }: Lost): void {
  if (response.headersSent || response.destroyed) return
  const body = `${reason}. Send the request again. A POST needs the same Idempotency-Key, so that it has one effect.\n`
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'retry-after': RETRY_AFTER_SECONDS,
  })
  response.end(body)
}
