import type { EngineVariables } from '../src/objects/settings.ts'
import type { DirectoryObject, MoverObject } from './coordinator.ts'

/** The bindings of wrangler.toml. Only the files in `workers/` read them. */
export interface Env extends EngineVariables {
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
  RATE_LIMITS?: string
  MAIL_FROM?: string
}
