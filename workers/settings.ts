import { BanyanError } from '../src/core/errors.ts'
import type { Settings } from '../src/web/context.ts'
import type { Env } from './env.ts'

/** Values that `.dev.vars.example` contains. They are public, so they are refused anywhere but on localhost. */
const LOCAL_OPERATOR_TOKEN = 'banyan-local'
const SIGNING_KEY_CHARACTERS_MIN = 32

/** Reads and checks the settings. Throws SETTING_MISSING, which says how to fix the first wrong setting. */
export function readSettings(env: Env): Settings {
  const signingKey = env.SIGNING_KEY ?? ''
  if (signingKey.length < SIGNING_KEY_CHARACTERS_MIN)
    throw new BanyanError(
      'SETTING_MISSING',
      `SIGNING_KEY needs at least ${SIGNING_KEY_CHARACTERS_MIN} characters. Locally, run npm run dev once, which generates a key in .dev.vars. Deployed, run: npx wrangler secret put SIGNING_KEY`,
    )
  return {
    signingKey,
    operatorToken: env.OPERATOR_TOKEN || null,
    publicOrigin: origin('PUBLIC_ORIGIN', env.PUBLIC_ORIGIN),
    cache: choice('CACHE', env.CACHE, ['on', 'off']),
    replicas: choice('REPLICAS', env.REPLICAS, ['off', 'on']),
    jobs: choice('JOBS', env.JOBS, ['queue', 'inline']),
    rateLimits: choice('RATE_LIMITS', env.RATE_LIMITS, ['on', 'off']),
    mailFrom: env.MAIL_FROM || 'banyan@example.com',
    localOnly: localOnly(env),
  }
}

function localOnly(env: Env): string | null {
  if (env.OPERATOR_TOKEN === LOCAL_OPERATOR_TOKEN)
    return 'OPERATOR_TOKEN is the local example, which is public. Set your own: npx wrangler secret put OPERATOR_TOKEN'
  if (env.RATE_LIMITS === 'off')
    return 'RATE_LIMITS is off, which is allowed only on localhost. Set it to on in wrangler.toml.'
  return null
}

function choice<const T extends string>(name: string, value: string | undefined, allowed: readonly [T, ...T[]]): T {
  if (value === undefined || value === '') return allowed[0]
  const found = allowed.find((one) => one === value)
  if (!found) throw new BanyanError('SETTING_MISSING', `${name} is "${value}"; it must be ${allowed.join(' or ')}.`)
  return found
}

function origin(name: string, value: string | undefined): string | null {
  if (value === undefined || value === '') return null
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol))
    throw new BanyanError('SETTING_MISSING', `${name} is "${value}"; it must be an address like https://example.com.`)
  return new URL(value).origin
}
