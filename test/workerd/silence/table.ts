import type { longest } from '../../support/longest.ts'

/** Whether the isolate has had a map, and whether the map's lease is still valid. */
export const isolates = ['cold', 'warm', 'past its lease'] as const
export type IsolateKind = (typeof isolates)[number]

/** Every kind of request and of other invocations: its answer when all dependencies work, and its time limit. */
export const kinds = {
  health: { well: 200, limit: 'health' },
  readiness: { well: 200, limit: 'readiness' },
  'public page': { well: 200, limit: 'request' },
  'API read': { well: 200, limit: 'request' },
  'sign-up': { well: 201, limit: 'request' },
  'log-in': { well: 201, limit: 'request' },
  'signed-in write': { well: 200, limit: 'request' },
  'static file': { well: 200, limit: 'file' },
  'list of shards': { well: 200, limit: 'operator' },
  'list of moves': { well: 200, limit: 'operator' },
  plan: { well: 202, limit: 'operator' },
  'plan by bytes': { well: 200, limit: 'operator' },
  'steering of a move': { well: 409, limit: 'operator' }, // its state does not allow it
  'batch of jobs': { well: 'acknowledged', limit: 'queue' },
  cron: { well: 'ran', limit: 'cron' },
} as const satisfies Record<string, { well: number | string; limit: keyof typeof longest }>
export type Kind = keyof typeof kinds

type Outcome = number | 'retried'
type Differences = Partial<Record<Kind, Outcome | Partial<Record<IsolateKind, Outcome>>>>

/** A shard with what the request needs: its user and the user's claims. */
const shard: Differences = {
  readiness: 503,
  'public page': 503,
  'API read': 503,
  'sign-up': 503,
  'log-in': 503,
  'signed-in write': 503,
  'plan by bytes': 503, // no shard is assumed to be empty
  'batch of jobs': 'retried',
}

const onlyCold: Partial<Record<IsolateKind, Outcome>> = { cold: 503 }

const directory: Differences = {
  readiness: 503,
  'public page': onlyCold,
  'API read': onlyCold,
  'sign-up': onlyCold,
  'log-in': onlyCold,
  'signed-in write': onlyCold,
  'list of shards': 503,
  'list of moves': 503,
  plan: 503,
  'plan by bytes': 503,
  'steering of a move': 503,
  'batch of jobs': { cold: 'retried' },
}

/** The answers that change while this dependency never answers. */
export const dependencies: Record<string, Differences> = {
  SHARD_000: shard,
  SHARD_001: shard,
  DIRECTORY: directory,
  MOVER: {}, // the cron wakes it, or the next wake-up does
  KV: { readiness: 503 }, // a miss: the shard answers instead
  BUCKET: { readiness: 503 }, // the bundle answers instead
  ASSETS: { 'static file': 503 }, // the Cache API and R2 have no copy here
  MAIL_QUEUE: {},
  JOBS_QUEUE: {}, // the sweeper sends them again
  MEDIA_QUEUE: {},
  PURGES_QUEUE: {},
  MAIL: { 'batch of jobs': 'retried' },
  RATE_LIMIT_REQUESTS: {}, // a limiter that does not answer lets the request pass
  RATE_LIMIT_WRITES: {},
  RATE_LIMIT_CREDENTIALS: {},
  RATE_LIMIT_SEARCH: {},
  IMAGES: {}, // no request uses it yet
  'Cache API': {}, // a miss: the directory and the bundle answer instead
}

export function expected(dependency: string, isolate: IsolateKind, kind: Kind): number | string {
  const different = dependencies[dependency]![kind]
  const outcome = typeof different === 'object' ? different[isolate] : different
  return outcome ?? kinds[kind].well
}
