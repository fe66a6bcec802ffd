"""Analysis of recordings: from arrays to statistics, figures and verdicts.

    load       recordings of a run folder as the analyses see them
    measures/  functions on plain arrays: activity, tuning, spectra, transients, lags, correlograms, fits, surrogates
    original/  the formulas of the published analysis where they differ; `formulas` chooses between the two
    steps/     what is made of a recording, step by step; `pipeline` runs them, `results` keeps what they made
    checks/    estimators, nulls, verdicts and their power
    report/    figures and the page
    fits/      tables and figures of fitted models of V1

Measures are pure functions of arrays with time on axis 0.
"""
