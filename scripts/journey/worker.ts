import type { Env } from '../../workers/env.ts'
import worker from '../../workers/main.ts'

export { DirectoryObject } from '../../workers/main.ts'

/** The unchanged application, except that the bindings named in `BROKEN` (`SHARD_003,KV`, or `WEB` for all) fail. */
type JourneyEnv = Env & { BROKEN?: string }

const broken = new WeakMap<JourneyEnv, Env>()

const away = new Proxy(
  {},
  {
    get: () => () => {
      throw new Error('D1_ERROR: Network connection lost.')
    },
  },
)

function withBroken(env: JourneyEnv): Env {
  const known = broken.get(env)
  if (known) return known
  const names = (env.BROKEN ?? '').split(',').filter((name) => name !== '')
  const made = { ...env, ...Object.fromEntries(names.map((name) => [name, away])) }
  broken.set(env, made)
  return made
}

export default {
  fetch: (request, env, context) =>
    env.BROKEN === 'WEB' ? new Response('offline', { status: 502 }) : worker.fetch(request, withBroken(env), context),
  queue: (batch, env, context) => worker.queue(batch, withBroken(env), context),
  scheduled: (controller, env, context) => worker.scheduled(controller, withBroken(env), context),
} satisfies ExportedHandler<JourneyEnv>
