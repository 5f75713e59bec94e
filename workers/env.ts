import type { PurgePages } from '../src/jobs/purges.ts'
import type { EngineDirectory } from '../src/objects/directory-object.ts'
import type { EngineMover } from '../src/objects/mover-object.ts'
import type { EngineVariables } from '../src/objects/settings.ts'
import type { PublicPages } from '../src/web/sharing.ts'

/** The bindings of wrangler.toml. Only the files in `workers/` read them. */
export interface Env extends EngineVariables {
  ASSETS: Fetcher
  KV: KVNamespace
  BUCKET: R2Bucket
  DIRECTORY: DurableObjectNamespace<EngineDirectory>
  MOVER: DurableObjectNamespace<EngineMover>
  MAIL_QUEUE: Queue
  JOBS_QUEUE: Queue
  MEDIA_QUEUE: Queue
  PURGES_QUEUE: Queue
  MAIL: SendEmail
  IMAGES: ImagesBinding
  RATE_LIMIT_REQUESTS: RateLimit
  RATE_LIMIT_WRITES: RateLimit
  RATE_LIMIT_CREDENTIALS: RateLimit
  RATE_LIMIT_SEARCH: RateLimit
  SIGNING_KEY?: string
  OPERATOR_TOKEN?: string
  PUBLIC_ORIGIN?: string
  CACHE?: string
  REPLICAS?: string
  JOBS?: string
  RATE_LIMITS?: string
  MAIL_FROM?: string
  MAIL_PREVIEWS?: string
}

/** The Worker's own entrypoints: `context.exports`. */
export interface OwnExports {
  PublicPages?: PublicPages & { purge: PurgePages }
}
