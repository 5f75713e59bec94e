import type { DirectoryObject, MoverObject } from './coordinator.ts'

/** The bindings of wrangler.toml. Only the files in `workers/` read them. */
export interface Env {
  ASSETS: Fetcher
  KV: KVNamespace
  BUCKET: R2Bucket
  DIRECTORY: DurableObjectNamespace<DirectoryObject>
  MOVER: DurableObjectNamespace<MoverObject>
  JOBS_QUEUE: Queue
  MEDIA_QUEUE: Queue
  MAIL: SendEmail
  RATE_LIMIT_REQUESTS: RateLimit
  RATE_LIMIT_WRITES: RateLimit
  RATE_LIMIT_CREDENTIALS: RateLimit
  SIGNING_KEY?: string
  OPERATOR_TOKEN?: string
  PUBLIC_ORIGIN?: string
  JOBS?: string
  LEASE_MS?: string
  GRACE_MS?: string
  MOVE_SHARE?: string
  SHARD_BYTES_MAX?: string
  RATE_LIMITS?: string
  MAIL_FROM?: string
}

/** The bound shards by binding name (`SHARD_000`, …), in order. */
export function boundShards(env: Env): Map<string, D1Database> {
  const bindings = Object.entries(env).filter(([name]) => /^SHARD_\d{3}$/.test(name))
  return new Map(bindings.sort(([a], [b]) => a.localeCompare(b)) as [string, D1Database][])
}
