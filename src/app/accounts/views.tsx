import { type FieldErrors, FormError, TextArea, TextField } from '../../web/fields.tsx'
import { Spread, Timestamp } from '../../web/layout.tsx'
import type { Self } from '../profiles/shapes.ts'

type Values = Record<string, string>

/** Leaves cut out of a lobe of the crown: a sunflower spiral, squashed to the lobe's width and height. */
function leafCuts(x: number, y: number, width: number, height: number, count: number): string {
  const goldenAngle = Math.PI * (3 - Math.sqrt(5))
  let path = ''
  for (let i = 1; i <= count; i++) {
    const radius = Math.sqrt(i / count)
    const left = Math.round(x + width * radius * Math.cos(i * goldenAngle)) - 7
    const top = Math.round(y + height * radius * Math.sin(i * goldenAngle))
    path += `M${left} ${top}q7-9 15-5-5 8-15 5z`
  }
  return path
}

const cuts = leafCuts(330, 130, 160, 84, 44) + leafCuts(116, 178, 72, 26, 10) + leafCuts(544, 162, 60, 44, 11)

/** A trunk from the crown to the ground, which flares where it meets it. */
function trunk(x: number, width: number): string {
  const w = width / 2
  return `M${x - w} 190C${x - w * 0.7} 260 ${x - w * 0.8} 320 ${x - w * 2.1} 362H${x + w * 2.1}C${x + w * 0.8} 320 ${x + w * 0.7} 260 ${x + w} 190z`
}

const trunks = [trunk(330, 40), trunk(182, 26), trunk(474, 24)].join('')

/** x, and where the root ends. */
const hangingRoots: [x: number, end: number][] = [
  [96, 268],
  [128, 300],
  [140, 262],
  [228, 318],
  [246, 280],
  [262, 300],
  [286, 262],
  [378, 290],
  [394, 322],
  [420, 276],
  [508, 300],
  [522, 262],
]
const hanging = hangingRoots.map(([x, end]) => `M${x} 200V${end}`).join('')

const Tree = () => (
  <svg class="tree" viewBox="0 0 660 400" aria-hidden="true" focusable="false">
    <path class="tree-root" d={hanging} />
    <path class="tree-body" d={trunks} />
    <path
      class="tree-body"
      d="M40 214C4 196 14 146 62 140 66 104 118 84 160 98 182 48 252 22 318 34 372 10 452 26 478 76 526 62 582 88 588 130 640 136 654 190 616 214 590 232 552 220 536 214 512 234 466 232 446 216 418 236 378 232 362 218 340 236 306 234 292 218 266 236 226 232 210 216 190 232 146 232 128 214 108 230 66 228 40 214z"
    />
    <path class="tree-cut" d={cuts} />
    <path class="tree-new" d="M578 214V318" />
    <path class="tree-new tree-path" d="M578 326V360" />
    <path class="tree-ground" d="M12 363H648" />
  </svg>
)

export const Landing = () => (
  <div class="landing">
    <section class="landing-top">
      <div>
        <h1>A small place to publish.</h1>
        <p class="lead">
          Banyan is a small community of people who write. You get a page at an address you choose, and as much room as
          a good letter takes: 2,000 characters of plain text.
        </p>
        <p class="actions">
          <a class="button" href="/signup">
            Create your account
          </a>
          <a class="button button-quiet" href="/login">
            Log in
          </a>
        </p>
      </div>
      <figure>
        <Tree />
        <figcaption>Three trunks hold it up. A fourth is on its way down.</figcaption>
      </figure>
    </section>
    <section class="landing-why" aria-labelledby="why">
      <h2 id="why">Why it’s called that</h2>
      <div class="prose">
        <p>
          A banyan starts as one trunk. Where it needs more, it lets down a root; the root becomes another trunk, and it
          is still one tree.
        </p>
        <p>
          The server under this site grows the same way. It is called Banyan too, and it runs on Cloudflare. Each
          account lives whole in one of its databases. When they fill up, its operators add another, and a share of the
          accounts moves across while people go on reading and writing.
        </p>
      </div>
    </section>
    <section class="landing-why" aria-labelledby="here">
      <h2 id="here">What you’ll find here</h2>
      <dl class="facts">
        <dt>Pages that are pages</dt>
        <dd>They come finished from the server. Everything works with scripts switched off.</dd>
        <dt>Your words as you typed them</dt>
        <dd>Any language, either direction, line breaks kept. Edit or delete whenever you like.</dd>
        <dt>An account you can look after</dt>
        <dd>See where you are logged in, and end any session from anywhere.</dd>
      </dl>
    </section>
  </div>
)

export type SignUpPageProps = { values: Values; errors: FieldErrors; idempotencyKey: string }

export const SignUpPage = ({ values, errors, idempotencyKey }: SignUpPageProps) => (
  <Spread
    margin={
      <>
        <h1>Sign up</h1>
        <p class="aside">
          Already have an account? <a href="/login">Log in</a>
        </p>
      </>
    }
  >
    <form class="form" method="post" action="/signup">
      <FormError errors={errors} />
      <input type="hidden" name="idempotencyKey" value={idempotencyKey} />
      <TextField
        id="email"
        name="email"
        type="email"
        label="E-mail"
        hint="Only you see it. We send a link to confirm it."
        value={values.email}
        error={errors.email}
        autocomplete="email"
        required
        literal
      />
      <TextField
        id="handle"
        name="handle"
        label="Handle"
        hint="Your page’s address, /@handle. 3 to 30 letters, digits or _, starting with a letter."
        value={values.handle}
        error={errors.handle}
        autocomplete="username"
        required
        literal
      />
      <TextField
        id="displayName"
        name="displayName"
        label="Display name (optional)"
        hint="What people see above your posts. You can change it later."
        value={values.displayName}
        error={errors.displayName}
        autocomplete="name"
      />
      <TextField
        id="password"
        name="password"
        type="password"
        label="Password"
        hint="At least 10 characters. A few unrelated words are good."
        error={errors.password}
        autocomplete="new-password"
        required
        literal
      />
      <button class="button" type="submit">
        Create account
      </button>
    </form>
  </Spread>
)

export type LogInPageProps = { values: Values; errors: FieldErrors; next?: string | null }

export const LogInPage = ({ values, errors, next }: LogInPageProps) => (
  <Spread
    margin={
      <>
        <h1>Log in</h1>
        <p class="aside">
          New here? <a href="/signup">Sign up</a>
        </p>
      </>
    }
  >
    <form class="form" method="post" action="/login">
      <FormError errors={errors} />
      {next ? <input type="hidden" name="next" value={next} /> : null}
      <TextField
        id="login"
        name="login"
        label="E-mail or handle"
        value={values.login}
        error={errors.login}
        autocomplete="username"
        required
        literal
      />
      <TextField
        id="password"
        name="password"
        type="password"
        label="Password"
        error={errors.password}
        autocomplete="current-password"
        required
        literal
      />
      <p class="actions">
        <button class="button" type="submit">
          Log in
        </button>
        <a class="text-link" href="/forgot-password">
          Forgot your password?
        </a>
      </p>
    </form>
  </Spread>
)

/** Times are RFC 3339. */
export type SessionRow = {
  id: string
  createdAt: string
  lastSeenAt: string
  userAgent: string | null
  current: boolean
}

const browsers: [pattern: RegExp, name: string][] = [
  [/\bEdg(e|A|iOS)?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\b(Firefox|FxiOS)\//, 'Firefox'],
  [/\b(Chrome|CriOS)\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
]
const systems: [pattern: RegExp, name: string][] = [
  [/iPhone|iPad/, 'iOS'],
  [/Android/, 'Android'],
  [/Windows/, 'Windows'],
  [/Mac OS X|Macintosh/, 'macOS'],
  [/CrOS/, 'ChromeOS'],
  [/Linux/, 'Linux'],
]

/** A User-Agent as a person would say it: `Firefox on Linux`; what no pattern knows is shown as it came. */
export function describeUserAgent(userAgent: string | null): string {
  if (!userAgent) return 'Unknown device'
  const browser = browsers.find(([pattern]) => pattern.test(userAgent))?.[1]
  const system = systems.find(([pattern]) => pattern.test(userAgent))?.[1]
  if (browser && system) return `${browser} on ${system}`
  return browser ?? userAgent.slice(0, 80)
}

const SessionItem = ({ session }: { session: SessionRow }) => (
  <li class="session">
    <div>
      <p class="session-name">
        <bdi>{describeUserAgent(session.userAgent)}</bdi>
        {session.current ? <span class="badge">This one</span> : null}
      </p>
      <p class="fine">
        Last seen <Timestamp time={session.lastSeenAt} />
      </p>
      <p class="fine">
        Logged in <Timestamp time={session.createdAt} />
      </p>
    </div>
    {session.current ? null : (
      <form method="post" action={`/settings/sessions/${session.id}/end`}>
        <button class="button button-quiet" type="submit">
          Sign out<span class="hidden"> {describeUserAgent(session.userAgent)}</span>
        </button>
      </form>
    )}
  </li>
)

const SessionsSection = ({ sessions }: { sessions: SessionRow[] }) => (
  <section class="settings" aria-labelledby="sessions">
    <div>
      <h2 id="sessions">Sessions</h2>
      <p class="aside">Where you are logged in.</p>
    </div>
    <div>
      <ul class="sessions">
        {sessions.map((session) => (
          <SessionItem session={session} />
        ))}
      </ul>
      {sessions.some((session) => !session.current) ? (
        <form method="post" action="/settings/sessions/end-others">
          <button class="button button-quiet" type="submit">
            Sign out all others
          </button>
        </form>
      ) : null}
    </div>
  </section>
)

type ProfileSectionProps = { self: Self; values: Values; errors: FieldErrors }

const ProfileSection = ({ self, values, errors }: ProfileSectionProps) => (
  <section class="settings" aria-labelledby="profile">
    <div>
      <h2 id="profile">Profile</h2>
      <p class="aside">
        What people see at <a href={`/@${self.handle}`}>@{self.handle}</a>.
      </p>
    </div>
    <form class="form" method="post" action="/settings/profile">
      <TextField
        id="displayName"
        name="displayName"
        label="Display name"
        value={values.displayName ?? self.displayName}
        error={errors.displayName}
        autocomplete="name"
      />
      <TextArea
        id="bio"
        name="bio"
        label="Bio"
        hint="A few lines about you. Plain text."
        value={values.bio ?? self.bio}
        error={errors.bio}
        rows={4}
      />
      <button class="button" type="submit">
        Save profile
      </button>
    </form>
  </section>
)

const EmailSection = ({ self, sent }: { self: Self; sent: boolean }) => (
  <section class="settings" aria-labelledby="email">
    <div>
      <h2 id="email">E-mail</h2>
      <p class="aside">Only you see it.</p>
    </div>
    <div class="form">
      <p class="email">
        <bdi>{self.email}</bdi>
        {self.emailVerified ? <span class="badge">Confirmed</span> : <span class="badge badge-bad">Not confirmed</span>}
      </p>
      {self.emailVerified ? null : (
        <form class="form" method="post" action="/settings/email-verification">
          <p>
            {sent
              ? 'A new link is on its way. It can take a minute; look in the spam folder too.'
              : 'Open the link we sent you to confirm it. Didn’t get it, or is it more than a week old?'}
          </p>
          <button class="button button-quiet" type="submit">
            Send again
          </button>
        </form>
      )}
    </div>
  </section>
)

const PasswordSection = ({ self, errors }: { self: Self; errors: FieldErrors }) => (
  <section class="settings" aria-labelledby="password">
    <div>
      <h2 id="password">Password</h2>
      <p class="aside">Changing it signs you out everywhere else.</p>
    </div>
    <form class="form" method="post" action="/settings/password">
      <input
        class="hidden"
        type="text"
        aria-label="Handle"
        value={self.handle}
        autocomplete="username"
        readonly
        tabindex={-1}
      />
      <TextField
        id="current"
        name="current"
        type="password"
        label="Current password"
        error={errors.current}
        autocomplete="current-password"
        required
        literal
      />
      <TextField
        id="next"
        name="next"
        type="password"
        label="New password"
        hint="At least 10 characters."
        error={errors.next}
        autocomplete="new-password"
        required
        literal
      />
      <button class="button" type="submit">
        Change password
      </button>
    </form>
  </section>
)

export type SettingsPageProps = {
  self: Self
  sessions: SessionRow[]
  errors: FieldErrors
  /** What was typed, when the profile form comes back with errors. */
  values?: Values
  /** A new verification mail was just asked for. */
  sent?: boolean
}

export const SettingsPage = ({ self, sessions, errors, values = {}, sent = false }: SettingsPageProps) => (
  <>
    <h1>Settings</h1>
    <FormError errors={errors} />
    <ProfileSection self={self} values={values} errors={errors} />
    <EmailSection self={self} sent={sent} />
    <PasswordSection self={self} errors={errors} />
    <SessionsSection sessions={sessions} />
  </>
)

/** Asks for a click: mail programs fetch links ahead, and must not use the token up. */
export const VerifyEmailPage = ({ token }: { token: string }) => (
  <Spread margin={<h1>Confirm your e-mail</h1>}>
    <form class="form" method="post" action={`/verify-email/${token}`}>
      <p class="lead">One click, and we know that this address reaches you.</p>
      <button class="button" type="submit">
        Confirm my e-mail
      </button>
      <p class="fine">Didn’t sign up here? Then close this page, and nothing happens.</p>
    </form>
  </Spread>
)

const ResetMailSent = () => (
  <div class="form" role="status">
    <p class="lead">If that address belongs to an account, a link is on its way.</p>
    <p>It works for an hour. Look in the spam folder too.</p>
    <p>
      <a class="text-link" href="/login">
        Back to log in
      </a>
    </p>
  </div>
)

export type ForgotPasswordPageProps = { sent: boolean; errors: FieldErrors; values?: Values }

export const ForgotPasswordPage = ({ sent, errors, values = {} }: ForgotPasswordPageProps) => (
  <Spread margin={<h1>Forgot your password?</h1>}>
    {sent ? (
      <ResetMailSent />
    ) : (
      <form class="form" method="post" action="/forgot-password">
        <FormError errors={errors} />
        <p>Tell us your e-mail, and we send a link with which you choose a new password.</p>
        <TextField
          id="email"
          name="email"
          type="email"
          label="E-mail"
          value={values.email}
          error={errors.email}
          autocomplete="email"
          required
          literal
        />
        <p class="actions">
          <button class="button" type="submit">
            Send the link
          </button>
          <a class="text-link" href="/login">
            Back to log in
          </a>
        </p>
      </form>
    )}
  </Spread>
)

export type ResetPasswordPageProps = { token: string; errors: FieldErrors }

export const ResetPasswordPage = ({ token, errors }: ResetPasswordPageProps) => (
  <Spread margin={<h1>Choose a new password</h1>}>
    <form class="form" method="post" action={`/reset-password/${token}`}>
      <FormError errors={errors} />
      <TextField
        id="password"
        name="password"
        type="password"
        label="New password"
        hint="At least 10 characters. Every session is signed out when it changes."
        error={errors.password}
        autocomplete="new-password"
        required
        literal
      />
      <button class="button" type="submit">
        Set new password
      </button>
    </form>
  </Spread>
)
