import pandas as pd
import time

def lambda_handler(event, context):
    start = time.time()
    
    # Read CSV
    df = pd.read_csv('s3://data-lake/orders.csv')
    
    # Process
    df['processed_date'] = pd.to_datetime(df['date'])
    df = df.drop_duplicates()
    
    duration = time.time() - start
    print(f"Duration: {duration}s, Memory: {context.memory_limit_in_mb}MB")
    
    return {'duration': duration}
