import type { Child } from 'hono/jsx'

/** Field name → message. The key `''` is the form as a whole. */
export type FieldErrors = Record<string, string>

type Described = {
  /** Unique within the page, because two forms may have a field of the same name. */
  id: string
  label: string
  hint?: string | undefined
  error?: string | undefined
}

function describedBy({ id, hint, error }: Described): string | undefined {
  const ids = [hint ? `${id}-hint` : '', error ? `${id}-error` : ''].filter(Boolean)
  return ids.length > 0 ? ids.join(' ') : undefined
}

const Field = ({ id, label, hint, error, children }: Described & { children: Child }) => (
  <div class="field">
    <label for={id}>{label}</label>
    {hint ? (
      <p class="hint" id={`${id}-hint`}>
        {hint}
      </p>
    ) : null}
    {children}
    {error ? (
      <p class="field-error" id={`${id}-error`}>
        {error}
      </p>
    ) : null}
  </div>
)

export type TextFieldProps = Described & {
  name: string
  value?: string | undefined
  type?: 'text' | 'email' | 'password'
  autocomplete: string
  required?: boolean
  /** For a handle, an e-mail address or a password: no capitalisation, no spell check. */
  literal?: boolean
}

export const TextField = ({ name, value, type = 'text', literal, ...field }: TextFieldProps) => (
  <Field {...field}>
    <input
      id={field.id}
      name={name}
      type={type}
      value={value}
      autocomplete={field.autocomplete}
      required={field.required}
      dir={literal ? 'ltr' : 'auto'}
      autocapitalize={literal ? 'none' : undefined}
      spellcheck={literal ? false : undefined}
      aria-invalid={field.error ? 'true' : undefined}
      aria-describedby={describedBy(field)}
    />
  </Field>
)

export type TextAreaProps = Described & {
  name: string
  value?: string | undefined
  rows: number
  required?: boolean
  /** Maximum number of code points. Without the script, the server reports an excess. */
  countTo?: number
}

export const TextArea = ({ name, value, rows, required, countTo, ...field }: TextAreaProps) => (
  <Field {...field}>
    <textarea
      id={field.id}
      name={name}
      rows={rows}
      required={required}
      dir="auto"
      data-count-to={countTo}
      aria-invalid={field.error ? 'true' : undefined}
      aria-describedby={describedBy(field)}
    >
      {/* The parser drops one leading line feed. */}
      {`\n${value ?? ''}`}
    </textarea>
  </Field>
)

export const FormError = ({ errors }: { errors: FieldErrors }) =>
  errors[''] ? (
    <p class="notice notice-bad" role="alert">
      {errors['']}
    </p>
  ) : null
