import { BanyanError } from '../src/core/errors.ts'
import { isLocalHost } from '../src/web/api.ts'
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
  const publicOrigin = origin('PUBLIC_ORIGIN', env.PUBLIC_ORIGIN)
  return {
    signingKey,
    operatorToken: env.OPERATOR_TOKEN || null,
    publicOrigin,
    cache: choice('CACHE', env.CACHE, ['on', 'off']),
    replicas: choice('REPLICAS', env.REPLICAS, ['off', 'on']),
    jobs: choice('JOBS', env.JOBS, ['queue', 'inline']),
    rateLimits: choice('RATE_LIMITS', env.RATE_LIMITS, ['on', 'off']),
    mailFrom: env.MAIL_FROM || 'banyan@example.com',
    mailPreviews: mailPreviews(env, publicOrigin),
    localOnly: localOnly(env),
  }
}

function localOnly(env: Env): string | null {
  if (env.OPERATOR_TOKEN === LOCAL_OPERATOR_TOKEN)
    return 'OPERATOR_TOKEN is the local example, which is public. Set your own: npx wrangler secret put OPERATOR_TOKEN'
  if (env.RATE_LIMITS === 'off')
    return 'RATE_LIMITS is off, which is allowed only on localhost. Set it to on in wrangler.toml.'
  if (env.MAIL_PREVIEWS === 'on')
    return 'MAIL_PREVIEWS is on, which is allowed only on localhost, because mails have secret links. Set it to off, or remove it.'
  return null
}

/** Refused where mails have public links. Queues have no address that could be checked, so the setting itself is. */
function mailPreviews(env: Env, publicOrigin: string | null): 'off' | 'on' {
  const chosen = choice('MAIL_PREVIEWS', env.MAIL_PREVIEWS, ['off', 'on'])
  if (chosen === 'on' && publicOrigin && !isLocalHost(new URL(publicOrigin).hostname))
    throw new BanyanError(
      'SETTING_MISSING',
      `MAIL_PREVIEWS is on, and PUBLIC_ORIGIN is "${publicOrigin}". Mails have secret links, so they can be shown only on localhost. Set MAIL_PREVIEWS to off, or remove it.`,
    )
  return chosen
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
