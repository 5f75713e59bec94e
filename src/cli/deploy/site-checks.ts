import type { ShardList } from '../../console/shapes.ts'
import { UserError } from '../shell/errors.ts'
import type { Deployment } from './deployment.ts'
import type { Check } from './steps.ts'

/** A new address on workers.dev takes a minute or two to get its certificate. */
const WARM_MS_MAX = 180_000
const WARM_PAUSE_MS = 2_000
const TIMEOUT_MS = 30_000
const ANSWER_CHARACTERS_MAX = 300

type Sleeping = Pick<Deployment, 'sleep'>

/**
 * Waits until the application is up and all its dependencies answer, three minutes in all. The first request creates
 * the map.
 */
export function warmCheck({ sleep }: Sleeping, address: () => string, waitMsMax = WARM_MS_MAX): Check {
  return {
    name: 'warm',
    asks: '/healthz, /readyz',
    async check() {
      const patience = { leftMs: waitMsMax }
      await answers(sleep, `${address()}/healthz`, patience)
      const ready = await answers(sleep, `${address()}/readyz`, patience)
      return `ready: ${ready.trim().split('\n').length} dependencies answer`
    },
  }
}

async function answers(sleep: Sleeping['sleep'], url: string, patience: { leftMs: number }): Promise<string> {
  for (;;) {
    const askedAt = performance.now()
    const { status, text } = await ask(url, {}, Math.min(TIMEOUT_MS, Math.max(1, Math.ceil(patience.leftMs))))
    patience.leftMs -= performance.now() - askedAt
    if (status === 200) return text
    patience.leftMs -= WARM_PAUSE_MS
    if (patience.leftMs <= 0)
      throw new UserError(
        `The version is deployed, but ${url} is not healthy (${status || 'no answer'}): ${text.slice(0, ANSWER_CHARACTERS_MAX)}`,
        SEE_LOGS,
      )
    await sleep(WARM_PAUSE_MS)
  }
}

const SEE_LOGS =
  'See the logs: npx wrangler tail. To return to the previous version: npm run banyan -- rollback (or to an earlier one: --to VERSION)'

/** Sends the requests of a visitor, a client and an operator. */
export function smokeCheck(
  address: () => string,
  { token, shards }: { token: () => string | undefined; shards: string[] },
): Check {
  return {
    name: 'smoke test',
    asks: '/, /api/openapi.json, /operator/v1/shards',
    async check() {
      await expectAnswer(`${address()}/`, (text) => text.includes('<html'))
      await expectAnswer(`${address()}/api/openapi.json`, (text) => readObject(text)?.paths !== undefined)
      const known = token()
      if (!known) return 'the home page and the API answer (pass --token to check the operators’ API too)'
      const headers = { authorization: `Bearer ${known}` }
      const list = await expectAnswer(`${address()}/operator/v1/shards`, isList, headers)
      const { items } = readObject(list) as unknown as ShardList
      const foreign = items.filter(({ binding }) => !shards.includes(binding))
      if (foreign.length > 0)
        throw new UserError(
          `The map names ${foreign.map(({ binding }) => binding).join(', ')}, which the configuration does not bind.`,
          'Use the configuration of this application that includes its last added shard (--config FILE).',
        )
      return `the home page, the API and the operators’ API answer, with ${items.length} of ${shards.length} shards in the map`
    },
  }
}

async function expectAnswer(url: string, isRight: (text: string) => boolean, headers = {}): Promise<string> {
  const { status, text } = await ask(url, headers)
  if (status === 200 && isRight(text)) return text
  throw new UserError(
    `The version is deployed, but ${url} answers ${status || 'nothing'}: ${text.slice(0, ANSWER_CHARACTERS_MAX)}`,
    status === 401
      ? 'Pass the token that is set with --token, or set another one: npx wrangler secret put OPERATOR_TOKEN'
      : SEE_LOGS,
  )
}

/** Null if the text is not a JSON object. */
function readObject(text: string): Record<string, unknown> | null {
  try {
    const read = JSON.parse(text) as unknown
    return typeof read === 'object' ? (read as Record<string, unknown> | null) : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

const isList = (text: string): boolean => Array.isArray(readObject(text)?.items)

async function ask(
  url: string,
  headers: Record<string, string> = {},
  timeoutMs = TIMEOUT_MS,
): Promise<{ status: number; text: string }> {
  try {
    const response = await fetch(url, { headers, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) })
    return { status: response.status, text: await response.text() }
  } catch (error) {
    return { status: 0, text: (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).message }
  }
}
