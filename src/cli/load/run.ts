import { setTimeout as sleep } from 'node:timers/promises'
import { UserError } from '../shell/errors.ts'
import { fromNouns } from '../shell/nouns.ts'
import type { ClientOptions, Clock } from './client.ts'
import { seededRandom } from './draws.ts'
import { Figures, type Tick } from './figures.ts'
import { type FindMoves, untilLeasesEnd } from './leases.ts'
import { type DrawnRequest, Mix } from './mix.ts'
import type { LoadNoun, Person } from './noun.ts'
import { openLoop } from './open-loop.ts'
import { readBack } from './oracle.ts'
import { expectReady, newPerson } from './people.ts'
import { type LoadReport, reportOf } from './report.ts'
import { Sightings } from './sightings.ts'
import { RunTexts } from './texts.ts'

const IN_FLIGHT_MAX = 500
/** Ends a run that has no other end: what was sent is kept in memory, some 200 bytes a write. */
export const REQUESTS_MAX = 2_000_000

// A sign-up may cost the server 0.2 s of hashing a password.
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
  fetch?: ClientOptions['fetch']
  clock?: Clock
  /** What requests are sent; all that the application's nouns contribute unless given. */
  nouns?: LoadNoun[]
  /** Distinguishes the runs on one server; begins their users' names. Up to 20 of `a-z 0-9 _`, first a letter. */
  run?: string
}

/**
 * Signs users up, sends requests at a rate, and reads back what was acknowledged. Throws UserError when the server isn't
 * ready, or doesn't sign users up; all else that fails is in the report.
 */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  const { clock = systemClock, fetch = (url, init) => globalThis.fetch(url, init), run = drawnRun() } = options
  const nouns = options.nouns ?? (await fromNouns<LoadNoun>('load'))
  const sightings = new Sightings()
  const people: Person[] = []
  const texts = new RunTexts(run)
  const parts = nouns.map((noun) => noun({ clock, texts, sightings, people }))
  const mix = new Mix(parts)
  if (mix.kinds.length === 0)
    throw new UserError(
      'The application has no requests for a load.',
      'Add src/app/<noun>/load.operator.ts to one of its nouns.',
    )
  const figures = new Figures(clock, mix.kinds)
  const random = seededRandom(options.seed + 1)
  const quietly: ClientOptions = { fetch, clock, random, onRetry: () => undefined, onRecovered: () => undefined }
  const counted: ClientOptions = {
    ...quietly,
    onRetry: () => figures.retries++,
    onRecovered: () => figures.recovered++,
  }
  const base = new URL(options.url)

  await expectReady(base, quietly)
  await signUpAll(options, people, (number) => newPerson(base, counted, `${run}_${number}`, parts))
  figures.begin()
  await ticking(sendAll(options, { people, mix, figures, clock }), clock, () => options.onTick?.(figures.tick()))
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
  const verdict = await readBack({ base, clientOptions: quietly, parts, onProgress })
  const asked = { ...options, run, url: base.origin, users: people.length }
  return reportOf(asked, figures, sightings, { ...verdict, movesToCome })
}

/** Four at a time. When the load is told to end, users who have not signed up yet are left out. */
async function signUpAll(
  { users, until, onProgress }: LoadOptions,
  people: Person[],
  add: (number: number) => Promise<Person>,
): Promise<void> {
  let next = 1
  const work = async () => {
    while (next <= users && !until?.aborted) {
      people.push(await add(next++))
      onProgress?.('signing up', people.length, users)
    }
  }
  await Promise.all(Array.from({ length: SIGN_UPS_AT_ONCE }, work))
}

interface Sending {
  people: Person[]
  mix: Mix
  figures: Figures
  clock: Clock
}

async function sendAll({ rate, reads, seed, durationMs, until }: LoadOptions, sending: Sending): Promise<void> {
  const { people, mix, figures, clock } = sending
  if (people.length === 0) return
  const random = seededRandom(seed)
  const endsAt = clock.now() + (durationMs ?? Number.POSITIVE_INFINITY)
  const send = async (request: DrawnRequest, plannedAt: number) => {
    const ended = await request.send()
    figures.ended(request, clock.now() - plannedAt, ended)
  }
  const start = (plannedAt: number) => {
    const request = mix.draw(random, reads, people)
    return request && send(request, plannedAt)
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
