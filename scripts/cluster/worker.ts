import type { Env } from '../../workers/env.ts'
import worker from '../../workers/main.ts'

export * from '../../workers/main.ts'

/** The unchanged application, which only its balancer reaches, and whose bindings can be broken. */
export interface ClusterEnv extends Env {
  /** Every request needs it in `x-cluster-key`. */
  CLUSTER_KEY: string
}

const MISDIRECTED = 'This web server answers only its balancer. Use the address that npm run dev:cluster prints.\n'

const unavailable = new Proxy(
  {},
  {
    get: () => () => {
      throw new Error('D1_ERROR: Network connection lost.')
    },
  },
)

/** The bindings by the names of the broken ones. The application keeps separate isolate state for each. */
const envs = new Map<string, Env>()
let broken = ''

function bindingsOf(env: ClusterEnv): Env {
  if (broken === '') return env
  const known = envs.get(broken)
  if (known) return known
  const made = { ...env, ...Object.fromEntries(broken.split(',').map((name) => [name, unavailable])) }
  envs.set(broken, made)
  return made
}

export default {
  fetch(request, env, context) {
    if (request.headers.get('x-cluster-key') !== env.CLUSTER_KEY) return new Response(MISDIRECTED, { status: 421 })
    const names = request.headers.get('x-cluster-broken')
    if (names === null) return worker.fetch(request, bindingsOf(env), context)
    broken = names
    return new Response(null, { status: 204 })
  },
  queue: worker.queue,
  scheduled: worker.scheduled,
} satisfies ExportedHandler<ClusterEnv>
