import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock, Tools } from './client.ts'
import { seededRandom } from './draws.ts'
import { Figures, type Tick } from './figures.ts'
import { type FindMoves, untilLeasesEnd } from './leases.ts'
import { Ledger } from './ledger.ts'
import { drawRequest } from './mix.ts'
import { openLoop } from './open-loop.ts'
import { readBack } from './oracle.ts'
import { expectReady, notTaken, type Person, signUp } from './people.ts'
import { type LoadReport, reportOf } from './report.ts'
import { Requests } from './requests.ts'
import { Sightings } from './sightings.ts'

const IN_FLIGHT_MAX = 500
/** Ends a run that has no other end: what was sent is kept in memory, some 200 bytes a write. */
export const REQUESTS_MAX = 2_000_000

// A sign-up is 0.2 s of scrypt at the server.
const SIGN_UPS_AT_ONCE = 4
const TICK_MS = 1_000

export interface LoadOptions {
  url: string | URL
  /** Requests a second. */
  rate: number
  /** Ends the load after so long; or else `until` does, or 2,000,000 requests. */
  durationMs?: number
  /** Ends the load when it aborts; what was written is read back all the same. */
  until?: AbortSignal
  users: number
  /** The share of requests that read, 0 to 1. */
  reads: number
  /** Decides what is drawn; what a draw meets depends on how long answers take. */
  seed: number
  /** Once a second, and at the end of the load. */
  onTick?(tick: Tick): void
  /** How far signing up, the wait (seconds) and reading back are. */
  onProgress?(stage: 'signing up' | 'seconds waited for leases' | 'reading back', done: number, of: number): void
  /** Moves that aren't over. Without it, or where it throws, leases are waited for whether any slot moved or not. */
  findMoves?: FindMoves
  fetch?: Tools['fetch']
  clock?: Clock
  /** Distinguishes the runs on one server; begins their users' handles. Up to 20 of `a-z 0-9 _`, first a letter. */
  run?: string
}

/**
 * Signs users up, sends requests at a rate, and reads back what was acknowledged. Throws UserError when the server isn't
 * ready, or doesn't sign users up; all else that fails is in the report.
 */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  const { clock = systemClock, fetch = (url, init) => globalThis.fetch(url, init), run = drawnRun() } = options
  const figures = new Figures(clock)
  const ledger = new Ledger<Person>()
  const sightings = new Sightings()
  const requests = new Requests(run, ledger, sightings, clock)
  const random = seededRandom(options.seed + 1)
  const quietly: Tools = { fetch, clock, random, onRetry: () => undefined, onRecovered: () => undefined }
  const counted: Tools = { ...quietly, onRetry: () => figures.retries++, onRecovered: () => figures.recovered++ }
  const base = new URL(options.url)

  await expectReady(base, quietly)
  const people = await signUpAll(options, (number) => newPerson(base, counted, run, number, requests))
  figures.begin()
  await ticking(sendAll(options, { people, ledger, requests, figures, clock }), clock, () =>
    options.onTick?.(figures.tick()),
  )
  const movesToCome =
    people.length === 0
      ? null
      : await untilLeasesEnd({
          writtenAt: clock.now(),
          clock,
          findMoves: options.findMoves ?? null,
          onProgress: (doneMs, ofMs) =>
            options.onProgress?.('seconds waited for leases', Math.round(doneMs / 1_000), Math.round(ofMs / 1_000)),
        })
  const onProgress = (done: number, of: number) => options.onProgress?.('reading back', done, of)
  const verdict = await readBack({ base, tools: quietly, run, people, ledger, onProgress })
  const asked = { ...options, run, url: base.origin, users: people.length }
  return reportOf(asked, figures, sightings, { ...verdict, movesToCome })
}

/** Somebody with a first post, so that there is something to read. */
async function newPerson(base: URL, tools: Tools, run: string, number: number, requests: Requests): Promise<Person> {
  const person = await signUp(base, tools, run, number)
  const ended = await requests.writePost(person)
  if (ended.outcome !== 'acknowledged') throw notTaken(base, 'take a first post', ended)
  return person
}

/** Four at a time. Whoever isn't signed up when the load is told to end is left out. */
async function signUpAll(
  { users, until, onProgress }: LoadOptions,
  add: (number: number) => Promise<Person>,
): Promise<Person[]> {
  const people: Person[] = []
  let next = 1
  const work = async () => {
    while (next <= users && !until?.aborted) {
      people.push(await add(next++))
      onProgress?.('signing up', people.length, users)
    }
  }
  await Promise.all(Array.from({ length: SIGN_UPS_AT_ONCE }, work))
  return people
}

interface Sending {
  people: Person[]
  ledger: Ledger<Person>
  requests: Requests
  figures: Figures
  clock: Clock
}

async function sendAll({ rate, reads, seed, durationMs, until }: LoadOptions, sending: Sending): Promise<void> {
  const { people, ledger, requests, figures, clock } = sending
  if (people.length === 0) return
  const random = seededRandom(seed)
  const endsAt = clock.now() + (durationMs ?? Number.POSITIVE_INFINITY)
  const start = (plannedAt: number) => {
    const mix = { random, reads, people, posts: ledger.posts, requests, now: clock.now() }
    const request = drawRequest(mix)
    const count = async () => {
      const ended = await request!.send()
      figures.ended(request!.kind, clock.now() - plannedAt, ended)
    }
    return request && count()
  }
  const isOver = (plannedAt: number) => until?.aborted === true || plannedAt >= endsAt
  await openLoop({ rate, clock, most: REQUESTS_MAX, inFlightMax: IN_FLIGHT_MAX, isOver, start, counts: figures })
}

/** Calls `tick` once a second until `work` has ended, and once more then. */
async function ticking(work: Promise<void>, clock: Clock, tick: () => void): Promise<void> {
  let isRunning = true
  const ended = work.finally(() => {
    isRunning = false
  })
  while (isRunning) {
    await Promise.race([ended, clock.sleep(TICK_MS)])
    tick()
  }
}

const systemClock: Clock = {
  now: () => performance.now(),
  sleep,
  timeout: (ms) => AbortSignal.timeout(ms),
}

const drawnRun = (): string => `load_${crypto.randomUUID().slice(0, 8)}`
