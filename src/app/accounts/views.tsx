import { type FieldErrors, FormError, TextField } from '../../web/fields.tsx'
import { Spread } from '../../web/layout.tsx'

type Values = Record<string, string>

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

/** Needs a click, because mail programs prefetch links and must not use up the token. */
export const VerifyEmailPage = ({ token }: { token: string }) => (
  <Spread margin={<h1>Confirm your e-mail</h1>}>
    <form class="form" method="post" action={`/verify-email/${token}`}>
      <p class="lead">One click, and we know that this address reaches you.</p>
      <button class="button" type="submit">
        Confirm my e-mail
      </button>
      <p class="fine">If you didn’t sign up here, close this page. Nothing happens.</p>
    </form>
  </Spread>
)

export type ConfirmEmailPageProps = { token: string; errors: FieldErrors }

export const ConfirmEmailPage = ({ token, errors }: ConfirmEmailPageProps) => (
  <Spread margin={<h1>Confirm your new e-mail</h1>}>
    <form class="form" method="post" action={`/confirm-email/${token}`}>
      <FormError errors={errors} />
      <p class="lead">Click the button, and your account uses this address.</p>
      <button class="button" type="submit">
        Use this address
      </button>
      <p class="fine">If you didn’t ask for this, close this page. Nothing changes.</p>
    </form>
  </Spread>
)

const ResetMailSent = () => (
  <div class="form" role="status">
    <p class="lead">If that address belongs to an account, a link is on its way.</p>
    <p>It works for an hour. Check your spam folder, too.</p>
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
        <p>Enter your e-mail, and we will send you a link to choose a new password.</p>
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
        hint="At least 10 characters. Changing it signs out every session."
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
