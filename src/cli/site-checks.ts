import type { Deploying } from './deploying.ts'
import { UserError } from './errors.ts'
import type { Check } from './steps.ts'

/** A new address on workers.dev takes a minute or two until its certificate is there. */
const WARM_ATTEMPTS_MAX = 90
const WARM_PAUSE_MS = 2_000
const TIMEOUT_MS = 30_000
const ANSWER_CHARACTERS_MAX = 300

type Sleeping = Pick<Deploying, 'sleep'>

/** Waits until the application lives, and until all that it stands on answers. The first request spreads the slots. */
export function warmCheck({ sleep }: Sleeping, address: () => string): Check {
  return {
    name: 'warm',
    asks: '/healthz, /readyz',
    async check() {
      await answers(sleep, `${address()}/healthz`)
      const ready = await answers(sleep, `${address()}/readyz`)
      return `ready: ${ready.trim().split('\n').length} dependencies answer`
    },
  }
}

async function answers(sleep: Sleeping['sleep'], url: string): Promise<string> {
  let last = ''
  for (let attempt = 1; attempt <= WARM_ATTEMPTS_MAX; attempt++) {
    const { status, text } = await ask(url)
    if (status === 200) return text
    last = `${status || 'no answer'}: ${text.slice(0, ANSWER_CHARACTERS_MAX)}`
    await sleep(WARM_PAUSE_MS)
  }
  throw new UserError(
    `It is deployed, and ${url} isn't well: ${last}`,
    'Its logs: npx wrangler tail. To go back to the version before: npm run banyan -- rollback, and further: --to VERSION',
  )
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
      await expectAnswer(`${address()}/api/openapi.json`, (text) => 'paths' in (JSON.parse(text) as object))
      const known = token()
      if (!known) return 'the home page and the API answer (no operators’ token is known here: --token)'
      const headers = { authorization: `Bearer ${known}` }
      const list = await expectAnswer(`${address()}/operator/v1/shards`, (text) => text.includes('"items"'), headers)
      const { items } = JSON.parse(list) as { items: { binding: string }[] }
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

async function ask(url: string, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> {
  try {
    const response = await fetch(url, { headers, redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT_MS) })
    return { status: response.status, text: await response.text() }
  } catch (error) {
    return { status: 0, text: (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).message }
  }
}
