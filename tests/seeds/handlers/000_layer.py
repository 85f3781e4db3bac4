import pandas as pd  # Loaded from layer

def lambda_handler(event, context):
    df = pd.DataFrame({'a': [1, 2, 3]})
    return {'status': 'ok'}
