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
}
