import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import type { Env } from '../../workers/env.ts'
import { PublicPages } from '../../workers/public-pages.ts'
import { workerIsolate } from './worker-isolate.ts'
import type { WorkersCache } from './workers-cache.ts'

export interface CachedWorkerOptions {
  env?: Partial<Env>
  /** Stands between the cache and the entrypoint. */
  around?: (request: Request, render: (request: Request) => Promise<Response>) => Promise<Response>
}

/** The whole Worker in its own isolate, with this cache in front of `PublicPages`. */
export function cachedWorker(cache: WorkersCache, { env, around }: CachedWorkerOptions = {}) {
  /** The requests that were handed over, and those that the cache let through. */
  const handedOver: Request[] = []
  const rendered: Request[] = []
  const isolate = workerIsolate({ CACHE: 'on', ...env }, (own) => {
    const entrypoint = () => {
      const context = Object.assign(createExecutionContext(), { cache: cached.cache })
      return { context, pages: new PublicPages(context as unknown as ExecutionContext, own) }
    }
    const render = async (request: Request) => {
      rendered.push(request)
      const { context, pages } = entrypoint()
      const answer = await pages.fetch(request)
      await waitOnExecutionContext(context)
      return answer
    }
    const cached = cache.entrypoint('PublicPages', (request) => (around ? around(request, render) : render(request)))
    return {
      PublicPages: {
        fetch(request: Request) {
          handedOver.push(request)
          return cached.fetch(request)
        },
        purge: (tags: string[]) => entrypoint().pages.purge(tags),
      },
    }
  })
  return { ...isolate, handedOver, rendered }
}
