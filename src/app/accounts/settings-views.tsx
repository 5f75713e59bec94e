import type { Child } from 'hono/jsx'
import { type FieldErrors, FormError, TextArea, TextField } from '../../web/fields.tsx'
import { Timestamp } from '../../web/layout.tsx'
import { PICTURE_TYPES } from '../media/views.tsx'
import { Leaf } from '../profiles/leaf.tsx'
import type { Self } from '../profiles/shapes.ts'
import { describeUserAgent } from './user-agents.ts'

type Values = Record<string, string>

/** Times are RFC 3339. */
type SessionRow = {
  id: string
  createdAt: string
  lastSeenAt: string
  userAgent: string | null
  current: boolean
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

type AvatarSectionProps = { self: Self; errors: FieldErrors }

const AvatarSection = ({ self, errors: { avatar } }: AvatarSectionProps) => (
  <section class="settings" aria-labelledby="picture">
    <div>
      <h2 id="picture">Picture</h2>
      <p class="aside">People see it beside your name.</p>
    </div>
    <form class="form" method="post" action="/settings/avatar" enctype="multipart/form-data">
      <Leaf user={self} size="large" />
      <div class="field">
        <label for="avatar">Picture</label>
        <p class="hint" id="avatar-hint">
          JPEG, PNG, WebP, AVIF or GIF, up to 10 MB. Its middle is shown as a square.
        </p>
        <input
          id="avatar"
          name="avatar"
          type="file"
          accept={PICTURE_TYPES}
          aria-invalid={avatar ? 'true' : undefined}
          aria-describedby={avatar ? 'avatar-hint avatar-error' : 'avatar-hint'}
        />
        {avatar ? (
          <p class="field-error" id="avatar-error">
            {avatar}
          </p>
        ) : null}
      </div>
      <p class="actions">
        <button class="button" type="submit">
          Save picture
        </button>
        {self.avatar ? (
          <button class="button button-quiet" type="submit" name="remove" value="yes">
            Remove picture
          </button>
        ) : null}
      </p>
    </form>
  </section>
)

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

const HandleSection = ({ self, values, errors }: ProfileSectionProps) => (
  <section class="settings" aria-labelledby="handle-heading">
    <div>
      <h2 id="handle-heading">Handle</h2>
      <p class="aside">Your page’s address.</p>
    </div>
    <form class="form" method="post" action="/settings/handle">
      <TextField
        id="handle"
        name="handle"
        label="Handle"
        hint={`If you change it, links to /@${self.handle} stop working. For 30 days, only you can take the old handle back.`}
        value={values.handle ?? self.handle}
        error={errors.handle}
        autocomplete="username"
        required
        literal
      />
      <button class="button" type="submit">
        Change handle
      </button>
    </form>
  </section>
)

type EmailSectionProps = ProfileSectionProps & { pendingEmail: string | null; sent: boolean }

const EmailSection = ({ self, pendingEmail, sent, values, errors }: EmailSectionProps) => (
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
              ? 'A new link is on its way. It can take a minute. Check your spam folder, too.'
              : 'To confirm it, open the link that we sent you. If it has not arrived, or is more than a week old, we can send it again.'}
          </p>
          <button class="button button-quiet" type="submit">
            Send again
          </button>
        </form>
      )}
      {pendingEmail ? (
        <p role="status">
          We sent a link to <bdi>{pendingEmail}</bdi>. Open it within a day, and your account uses that address. To get
          another link, enter the new address again below. To keep your present address, enter that one.
        </p>
      ) : null}
      <form class="form" method="post" action="/settings/email">
        <TextField
          id="newEmail"
          name="email"
          type="email"
          label="New e-mail"
          hint="We send a link to it. Nothing changes until you open it."
          value={values.email ?? pendingEmail ?? ''}
          error={errors.email}
          autocomplete="email"
          required
          literal
        />
        <TextField
          id="emailPassword"
          name="password"
          type="password"
          label="Your password"
          error={errors.emailPassword}
          autocomplete="current-password"
          required
          literal
        />
        <button class="button" type="submit">
          Change e-mail
        </button>
      </form>
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
  /** The address of a change that is not confirmed yet. */
  pendingEmail: string | null
  /** The section of the mails that the user may switch off. */
  notices: Child
  sessions: SessionRow[]
  errors: FieldErrors
  /** The submitted values, if a form is shown again with errors. */
  values?: Values
  /** A new verification mail was just requested. */
  sent?: boolean
}

export const SettingsPage = ({
  self,
  pendingEmail,
  notices,
  sessions,
  errors,
  values = {},
  sent = false,
}: SettingsPageProps) => (
  <>
    <h1>Settings</h1>
    <FormError errors={errors} />
    <ProfileSection self={self} values={values} errors={errors} />
    <AvatarSection self={self} errors={errors} />
    <HandleSection self={self} values={values} errors={errors} />
    <EmailSection self={self} pendingEmail={pendingEmail} values={values} errors={errors} sent={sent} />
    <PasswordSection self={self} errors={errors} />
    {notices}
    <SessionsSection sessions={sessions} />
  </>
)
