import { WorkerEntrypoint } from 'cloudflare:workers'
import type { Env } from './env.ts'
import { renderPage } from './web.ts'

/**
 * Renders the pages that visitors share. The platform's cache is in front of it (wrangler.toml), and only the default
 * entrypoint calls it, with requests that have nothing of a client.
 */
export class PublicPages extends WorkerEntrypoint<Env> {
  override fetch(request: Request): Promise<Response> {
    return renderPage(request, this.env, this.ctx)
  }

  /** A purge reaches only the cache of the entrypoint that calls it. The local runtime has no cache. */
  async purge(tags: string[]): Promise<'purged' | 'no cache'> {
    if (!this.ctx.cache) return 'no cache'
    if (tags.length === 0) return 'purged'
    const { success, errors } = await this.ctx.cache.purge({ tags })
    if (!success) throw new Error(`the purge was refused: ${errors.map(({ message }) => message).join(', ')}`)
    return 'purged'
  }
}
