import type { ShardList } from '../../console/shapes.ts'
import { UserError } from '../shell/errors.ts'
import type { Deployment } from './deployment.ts'
import type { Check } from './steps.ts'

/** A new address on workers.dev takes a minute or two until its certificate is there. */
const WARM_MS_MAX = 180_000
const WARM_PAUSE_MS = 2_000
const TIMEOUT_MS = 30_000
const ANSWER_CHARACTERS_MAX = 300

type Sleeping = Pick<Deployment, 'sleep'>

/**
 * Waits until the application lives, and until all that it stands on answers: three minutes at most, for both. The first
 * request spreads the slots.
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
        `It is deployed, and ${url} isn't well: ${status || 'no answer'}: ${text.slice(0, ANSWER_CHARACTERS_MAX)}`,
        'Its logs: npx wrangler tail. To go back to the version before: npm run banyan -- rollback, and further: --to VERSION',
      )
    await sleep(WARM_PAUSE_MS)
  }
}

/** Asks for what a visitor, a client and an operator would ask for. */
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
      if (!known) return 'the home page and the API answer (no operators’ token is known here: --token)'
      const headers = { authorization: `Bearer ${known}` }
      const list = await expectAnswer(`${address()}/operator/v1/shards`, isList, headers)
      const { items } = readObject(list) as unknown as ShardList
      const foreign = items.filter(({ binding }) => !shards.includes(binding))
      if (foreign.length > 0)
        throw new UserError(
          `The map names ${foreign.map(({ binding }) => binding).join(', ')}, which the configuration doesn't bind.`,
          'Is this the configuration of this application, and as new as its last added shard?',
        )
      return `the home page, the API and the operators’ API answer, with ${items.length} of ${shards.length} shards in the map`
    },
  }
}

async function expectAnswer(url: string, isRight: (text: string) => boolean, headers = {}): Promise<string> {
  const { status, text } = await ask(url, headers)
  if (status === 200 && isRight(text)) return text
  throw new UserError(
    `It is deployed, and ${url} answers ${status || 'nothing'}: ${text.slice(0, ANSWER_CHARACTERS_MAX)}`,
    status === 401
      ? 'The token isn’t the one that is set: give that with --token, or set another: npx wrangler secret put OPERATOR_TOKEN'
      : 'Its logs: npx wrangler tail. To go back to the version before: npm run banyan -- rollback, and further: --to VERSION',
  )
}

/** Null for what is no object in JSON. */
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
