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
/** Limits a run without a duration, because each write is kept in memory (about 200 bytes). */
export const REQUESTS_MAX = 2_000_000

// A sign-up may cost the server 0.2 s of hashing a password.
const SIGN_UPS_AT_ONCE = 4
const TICK_MS = 1_000

export interface LoadOptions {
  url: string | URL
  /** Requests per second. */
  rate: number
  /** Ends the load after this time. Without it, `until` or 2,000,000 requests end it. */
  durationMs?: number
  /** Ends the load when it aborts. The writes are still read back. */
  until?: AbortSignal
  users: number
  /** The share of requests that read, 0 to 1. */
  reads: number
  /** Determines the draws. Their results also depend on how long answers take. */
  seed: number
  /** Called once per second, and at the end of the load. */
  onTick?(tick: Tick): void
  /** Called with the progress of signing up, waiting (in seconds) and reading back. */
  onProgress?(stage: 'signing up' | 'seconds waited for leases' | 'reading back', done: number, of: number): void
  /** Finds open moves. Without it, or if it throws, the run waits for leases even if no slot moved. */
  findMoves?: FindMoves
  fetch?: ClientOptions['fetch']
  clock?: Clock
  /** The nouns whose requests are sent. Default: all nouns of the application that contribute. */
  nouns?: LoadNoun[]
  /** Prefix of the users' names, unique per run on a server. Up to 20 of `a-z 0-9 _`, starting with a letter. */
  run?: string
}

/**
 * Signs up users, sends requests at a fixed rate, and reads back all acknowledged writes. Throws UserError if the
 * server is not ready or does not sign up users. The report contains all other failures.
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
      'No noun of the application contributes requests to a load.',
      'Add src/app/<noun>/load.operator.ts to one of the nouns.',
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

/** Signs up four users at a time. Stops if the load is told to end. */
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

/** Calls `tick` once per second until `work` has ended, and once more at the end. */
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
