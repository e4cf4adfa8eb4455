interface Props {
  legend: string
  /** The main role first. */
  roles: string[]
  /** To choose from, beside what the routes of the gateway know. */
  others?: string[]
  onChange(roles: string[]): void
}

/** The roles that the routes of the gateway know. */
const known = ['admin', 'doctor', 'patient']

export function RolesField({ legend, roles, others = [], onChange }: Props) {
  const toggle = (role: string) =>
    onChange(roles.includes(role) ? roles.filter((other) => other !== role) : [...roles, role])
  return (
    <fieldset className="choices">
      <legend>{legend}</legend>
      {[...new Set([...others, ...known])].map((role) => (
        <label key={role}>
          <input type="checkbox" checked={roles.includes(role)} onChange={() => toggle(role)} />
          <span>{role}</span>
          {roles[0] === role && <span className="chip">main</span>}
        </label>
      ))}
    </fieldset>
  )
}
